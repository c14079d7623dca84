package traffic

import "time"

// Bounds of the table of requests.
const (
	maxRequests  = 1 << 16          // the oldest is forgotten; at 2,000 requests/s one is remembered for 32 s
	requestLife  = 32 * time.Second // no client sends a request again after 64*T1 (RFC 3261 17.1)
	windowStep   = 500 * time.Millisecond
	windowSteps  = 20
	windowLength = windowSteps * windowStep // 10 s

	// promptness is how old a request may be whose answer still shows that requests are worked on: a server's timers answer older ones, too.
	promptness = 5 * time.Second
)

// answers tells requests that were answered from those that were not, in virtual time: it is told what time it is. A request is counted
// once, when it is answered or when it has waited for too long, however often it is sent again.
type answers struct {
	patience time.Duration
	table    requests
	due      uint64 // number of the first request that may still be waiting

	open    int // waiting
	window  [windowSteps]tally
	stale   tally
	total   tally
	invites uint64 // INVITEs with an answer above 100
	crowded uint64 // requests forgotten while they waited
}

// tally is how many requests were answered in time and how many were not, in the windowStep that begins at step*windowStep.
type tally struct {
	step                 int64
	answered, unanswered uint64
}

func newAnswers(patience time.Duration) *answers {
	return &answers{patience: patience, table: newRequests(maxRequests)}
}

// ask notes a request. It gives false if that is known already.
func (a *answers) ask(key uint64, invite bool, now time.Duration) bool {
	a.expire(now)
	if r := a.table.find(key); r != nil && now-r.at < requestLife {
		return false
	}
	if old := a.table.add(transaction{key: key, at: now, invite: invite}); old.state == waiting && old.key != 0 {
		a.open--
		a.crowded++
	}
	a.open++
	return true
}

// answer notes a response. progress is false for 100, which says no more than that the request arrived. It reports whether the request was
// worked on just now: this is the first answer above 100, and the request is not older than promptness.
func (a *answers) answer(key uint64, progress bool, now time.Duration) (worked bool) {
	a.expire(now)
	r := a.table.find(key)
	if r == nil {
		return false
	}
	first := progress && !r.done
	r.done = r.done || progress
	if r.state == waiting {
		r.state = answered
		a.open--
		a.count(now).answered++
		a.total.answered++
	}
	if first && r.invite {
		a.invites++
	}
	return first && now-r.at <= promptness
}

// expire counts those as unanswered that have waited for too long.
func (a *answers) expire(now time.Duration) {
	a.due = max(a.due, a.table.first)
	for ; a.due < a.table.next; a.due++ {
		r := a.table.at(a.due)
		if r.state != waiting {
			continue
		}
		if now-r.at < a.patience {
			return
		}
		r.state = unanswered
		a.open--
		a.count(r.at+a.patience).unanswered++
		a.total.unanswered++
	}
}

// next gives the moment at which the next request has waited for too long.
func (a *answers) next() (time.Duration, bool) {
	a.due = max(a.due, a.table.first)
	for ; a.due < a.table.next; a.due++ {
		if r := a.table.at(a.due); r.state == waiting {
			return r.at + a.patience, true
		}
	}
	return 0, false
}

// count gives the part of the window that at belongs to.
func (a *answers) count(at time.Duration) *tally {
	step := int64(at / windowStep)
	t := &a.window[step%windowSteps]
	switch {
	case t.step < step:
		*t = tally{step: step}
	case t.step > step: // too old for the window
		return &a.stale
	}
	return t
}

// sum gives what the window that ends now holds.
func (a *answers) sum(now time.Duration) (answered, unanswered uint64) {
	last := int64(now / windowStep)
	for _, t := range a.window {
		if t.step > last-windowSteps && t.step <= last {
			answered += t.answered
			unanswered += t.unanswered
		}
	}
	return answered, unanswered
}
