package lab

import (
	"strings"
	"time"
)

// Ask is one request of the client to the service address.
type Ask struct {
	Sent   time.Duration // moment, see Now
	Took   time.Duration // until the first answer; 0 without one
	Server string        // who answered: a member, or empty
}

// AnswerLimit is how late an answer may come to count. A server that was frozen answers everything that waited in its socket; for a
// client those requests went unanswered.
const AnswerLimit = 100 * time.Millisecond

// answered reports whether the request counts as answered.
func (a Ask) answered() bool { return a.Took > 0 && a.Took <= AnswerLimit }

// Outage is what a client that asks once in AskInterval noticed in a span of time.
type Outage struct {
	// Longest is the longest time between the sending of two requests that were answered within AnswerLimit, with none such between.
	// Nothing is subtracted: it is AskInterval when nothing is wrong. The gap may begin before the span and, unless Open, ends in it.
	Longest time.Duration `json:"longest_ns"`
	Open    bool          `json:"open"`    // the longest gap had not ended at the end of the span, and requests in it were not answered
	Asked   int           `json:"asked"`   // requests sent in the span
	Lost    int           `json:"lost"`    // of these, not answered within AnswerLimit and not asked again: the client sends no retransmissions
	Servers []string      `json:"servers"` // who answered, each change once
	// Stall is the longest time for which the client itself sent nothing: how much of Longest may be the machine's.
	Stall time.Duration `json:"stall_ns"`
}

// MeasureOutage computes the outage of a span from requests in the order of sending. They have to begin before the span.
func MeasureOutage(asks []Ask, from, to time.Duration) Outage {
	var o Outage
	last := from // of the answered requests, the one sent last
	sent := from // of all requests
	gap := func(until time.Duration, open bool) {
		if until-last > o.Longest {
			o.Longest, o.Open = until-last, open
		}
	}
	for _, a := range asks {
		if a.Sent > to {
			break
		}
		if a.Sent >= from {
			o.Asked++
			o.Stall = max(o.Stall, a.Sent-sent)
			if !a.answered() {
				o.Lost++
			}
		}
		sent = a.Sent
		if !a.answered() {
			continue
		}
		if a.Sent >= from {
			gap(a.Sent, false)
			if len(o.Servers) == 0 || o.Servers[len(o.Servers)-1] != a.Server {
				o.Servers = append(o.Servers, a.Server)
			}
		}
		last = a.Sent
	}
	// The time since the last answer is a gap too, but not that between two requests of a healthy service. Whether the service would have
	// answered is not known if the client itself sent nothing more.
	if to-last > 2*AskInterval {
		gap(to, sent > last)
	}
	return o
}

// Sample is one look of the observer: it asked every member's interface for the service address at once.
type Sample struct {
	At       time.Duration // moment of asking, see Now
	Took     time.Duration // until the last member was asked and the last answer was there
	Holders  Holders       // who answered for the IPv4 address
	Known6   bool          // the IPv6 address was asked for too
	Holders6 Holders
}

// Holders is a set of members.
type Holders uint8

// holderOf is the set of one member, by its place in Members.
func holderOf(i int) Holders { return 1 << i }

// Has reports whether a member is in the set.
func (h Holders) Has(member string) bool {
	for i, m := range Members() {
		if m == member {
			return h&holderOf(i) != 0
		}
	}
	return false
}

// only reports whether the member is in the set and no other.
func (h Holders) only(member string) bool { return h.Has(member) && !h.both() }

// String lists the members.
func (h Holders) String() string {
	var names []string
	for _, m := range Members() {
		if h.Has(m) {
			names = append(names, m)
		}
	}
	if names == nil {
		return "nobody"
	}
	return strings.Join(names, " and ")
}

// both reports whether more than one member is in the set.
func (h Holders) both() bool { return h&(h-1) != 0 }

// TwoHolders is how long, in a span of time, more than one member answered for the service address: each look at which both answered
// counts until the next look. A look asks for IPv4, every Look6-th for IPv6 too; that one counts for the looks without. A look that took
// longer than LookInterval, on a machine that is too busy, may have reached one member before and the other after a change: it counts
// only beside another look at which both answered.
func TwoHolders(samples []Sample, from, to time.Duration) time.Duration {
	var looks6 []Sample
	for _, s := range samples {
		if s.Known6 {
			looks6 = append(looks6, s)
		}
	}
	four := proven(samples, func(s Sample) bool { return s.Holders.both() })
	six := proven(looks6, func(s Sample) bool { return s.Holders6.both() })
	var sum time.Duration
	seen6 := 0 // looks for IPv6 so far
	for i, s := range samples {
		if s.Known6 {
			seen6++
		}
		both := four[i] || seen6 > 0 && six[seen6-1]
		if s.At < from || s.At > to || !both {
			continue
		}
		next := to
		if i+1 < len(samples) {
			next = min(next, samples[i+1].At)
		}
		sum += next - s.At
	}
	return sum
}

// proven tells for each look whether it shows that both held an address at one moment.
func proven(looks []Sample, both func(Sample) bool) []bool {
	shows := make([]bool, len(looks))
	for i, s := range looks {
		beside := i > 0 && both(looks[i-1]) || i+1 < len(looks) && both(looks[i+1])
		shows[i] = both(s) && (s.Took <= LookInterval || beside)
	}
	return shows
}

// Stall is the longest time between two looks in a span: what the observer could have missed.
func Stall(samples []Sample, from, to time.Duration) time.Duration {
	var longest time.Duration
	for i := 1; i < len(samples); i++ {
		if samples[i].At >= from && samples[i-1].At <= to {
			longest = max(longest, samples[i].At-samples[i-1].At)
		}
	}
	return longest
}
