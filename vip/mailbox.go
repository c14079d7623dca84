package vip

import (
	"sync"

	"github.com/understudy-sip/understudy/supervisor"
)

// mailbox keeps the newest desired state for the goroutine that carries it out. Older ones are overwritten, never queued.
type mailbox struct {
	wake chan struct{} // holds one token while the goroutine shall look

	mu     sync.Mutex
	hold   supervisor.Hold
	newest supervisor.Epoch // invariant: never falls; no hold of an older epoch is taken
	full   bool
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put replaces what is waiting, and gives false for a hold of an epoch older than the newest seen: that is forgotten, because
// somebody else may hold since.
func (m *mailbox) put(h supervisor.Hold) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.Held && h.Epoch < m.newest {
		return false
	}
	m.newest = max(m.newest, h.Epoch)
	m.hold, m.full = h, true
	return true
}

// knock makes the goroutine look.
func (m *mailbox) knock() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take gives what is waiting and the newest epoch seen.
func (m *mailbox) take() (h supervisor.Hold, newest supervisor.Epoch, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, newest, ok = m.hold, m.newest, m.full
	m.full = false
	return h, newest, ok
}
