package vip

import (
	"sync"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// wish is what the role wants, as known at any moment: a Hold ends by itself.
type wish struct {
	clock func() time.Duration

	mu     sync.Mutex
	known  bool
	hold   supervisor.Hold
	newest supervisor.Epoch
	turn   uint64 // grows whenever set changes what is wanted: also when a lease had lapsed before it was extended
}

// set takes a Hold, and reports whether that changes what is wanted. One of an older epoch than the newest is ignored, as effectors do.
func (w *wish) set(h supervisor.Hold) bool {
	now := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.Held && h.Epoch < w.newest {
		return false
	}
	was, known := w.at(now), w.known
	w.newest = max(w.newest, h.Epoch)
	w.hold, w.known = h, true
	if known && w.at(now) == was {
		return false
	}
	w.turn++
	return true
}

func (w *wish) at(now time.Duration) bool { return w.hold.Held && now < w.hold.Until }

// wants gives whether the addresses are wanted at this moment. turn is 0 if nobody ever said.
func (w *wish) wants() (wanted bool, turn uint64) {
	now := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at(now), w.turn
}
