package vip

import "time"

// backoff spaces the attempts at something that fails: at once, then from first doubling up to last. The zero time is "at once".
type backoff struct {
	first, last time.Duration

	wait time.Duration
	at   time.Duration // not before this moment
}

func (b *backoff) ready(now time.Duration) bool { return now >= b.at }

// failed notes a failure at now.
func (b *backoff) failed(now time.Duration) {
	b.wait = min(max(2*b.wait, b.first), b.last)
	b.at = now + b.wait
}

// reset allows the next attempt at once: something succeeded, or the circumstances changed.
func (b *backoff) reset() { b.wait, b.at = 0, 0 }

// budget counts events in a sliding window.
type budget struct {
	limit  int
	window time.Duration

	at []time.Duration // of the newest limit events, oldest first
}

func (b *budget) note(now time.Duration) {
	if len(b.at) == b.limit {
		b.at = append(b.at[:0], b.at[1:]...)
	}
	b.at = append(b.at, now)
}

// last is the moment of the newest event, if there was one.
func (b *budget) last() time.Duration { return b.at[len(b.at)-1] }

// spent reports whether limit events fell into the window that ends now.
func (b *budget) spent(now time.Duration) bool {
	return len(b.at) == b.limit && now-b.at[0] < b.window
}
