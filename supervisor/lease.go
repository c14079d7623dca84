package supervisor

import (
	"slices"
	"time"
)

// lease is the right of a named primary to hold the address. It runs until the moment at which the newest renewal that a majority has
// answered was *sent*, plus Timing.Lease: counting from the answer would add the network's delay to a promise that did not have it.
type lease struct {
	epoch    Epoch
	seq      uint64
	sent     [64]sending // ring, by seq: when the renewal left
	acked    map[NodeID]time.Duration
	until    time.Duration            // zero: never had one
	answered time.Duration            // when any voter last answered for this epoch
	waits    map[NodeID]time.Duration // until when a voter's promise to another node stands, of those that told
	barred   bool                     // a voter will never again answer this epoch
	barredAt time.Duration
	given    Epoch         // this node gave this epoch up: it never renews it again
	next     time.Duration // when to renew or probe again
	renewed  time.Duration // when that was done last
	repeat   time.Duration // when to renew again with those that have not answered; never: not at all
}

type sending struct {
	seq uint64
	at  time.Duration
}

// begin starts the lease of a new epoch with nothing.
func (l *lease) begin(e Epoch, now time.Duration) {
	*l = lease{epoch: e, seq: l.seq, given: l.given, next: now, repeat: never,
		acked: map[NodeID]time.Duration{}, waits: map[NodeID]time.Duration{}, answered: -1 << 62}
}

// send notes that a renewal or probe leaves now and gives its number.
func (l *lease) send(now time.Duration) uint64 {
	l.seq++
	l.sent[l.seq%uint64(len(l.sent))] = sending{l.seq, now}
	return l.seq
}

// answer notes that voter answered the message numbered seq. promised tells whether with a promise; it then moves the lease's end.
func (l *lease) answer(now time.Duration, voter NodeID, seq uint64, promised bool, others int, length time.Duration) {
	s := l.sent[seq%uint64(len(l.sent))]
	if s.seq != seq || s.at > now {
		return // too old to know when it was sent
	}
	l.answered = now
	if !promised {
		return
	}
	if s.at > l.acked[voter] || l.acked[voter] == 0 {
		l.acked[voter] = s.at
	}
	if at, ok := newestOf(l.acked, others); ok {
		l.until = max(l.until, at+length)
	}
}

// newestOf is the newest moment by which at least n of the voters have answered.
func newestOf(acked map[NodeID]time.Duration, n int) (time.Duration, bool) {
	if n == 0 || len(acked) < n {
		return 0, false
	}
	at := make([]time.Duration, 0, len(acked))
	for _, t := range acked {
		at = append(at, t)
	}
	slices.Sort(at)
	return at[len(at)-n], true
}

// runs reports whether the lease of e holds at now.
func (l *lease) runs(now time.Duration, e Epoch) bool {
	return l.epoch == e && l.given < e && now < l.until
}

// hears reports whether a voter has answered lately. A named primary that hears nobody must not renew: it would keep its voters loyal
// without being able to serve.
func (l *lease) hears(now time.Duration, t Timing) bool { return now-l.answered <= 3*t.Renew }

// bar notes that a voter will answer this epoch no more.
func (l *lease) bar(now time.Duration) {
	if !l.barred {
		l.barred, l.barredAt = true, now
	}
}
