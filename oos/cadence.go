package oos

import "time"

// While an answer is overdue, questions follow each other faster, so that silence rests on some fifteen of them instead of three: where
// every fifth packet is lost, three in a row go without an answer every few seconds. Whoever answers is asked as before, and at once again
// while only further answers are missing until it counts as serving.
const (
	hurry     = 5  // how many times as often
	mostExtra = 10 // questions more since the last answer
)

// cadence is when to ask.
type cadence struct {
	next  time.Duration // in step
	last  time.Duration // when it was asked last
	extra int           // questions out of step since the last answer
}

// due is when to ask next. An answer is overdue after three times the usual round trip, and not before a quarter of the interval.
func (w *watch) due() time.Duration {
	if w.doubt && w.good > 0 && w.asked == 0 {
		return min(w.next, w.last+w.Interval/hurry)
	}
	if w.asked == 0 || w.extra >= mostExtra || w.basis == silence || w.stuck {
		return w.next
	}
	overdue := w.first + max(3*w.usual, w.Interval/4)
	return min(w.next, max(overdue, w.last+w.Interval/hurry))
}

// plan takes note that it is asked now, and sets when to ask next: in step, or from now on if steps were missed.
func (w *watch) plan(now time.Duration) {
	if w.asked == 0 {
		w.extra = 0
	}
	w.last = now
	if now < w.next {
		w.extra++
		return
	}
	if w.next += w.Interval; w.next <= now {
		w.next = now + w.Interval
	}
}
