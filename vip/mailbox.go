package vip

import (
	"sync"

	"github.com/understudy-sip/understudy/supervisor"
)

// mailbox keeps the newest desired state for the goroutine that carries it out. Older ones are overwritten, never queued.
type mailbox struct {
	wake chan struct{} // holds one token while there is something to take

	mu     sync.Mutex
	hold   supervisor.Hold
	newest supervisor.Epoch // invariant: never falls; no hold of an older epoch is taken
	full   bool
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put replaces what is waiting. A hold of an epoch older than the newest seen is dropped: somebody else may hold since.
func (m *mailbox) put(h supervisor.Hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.Held && h.Epoch < m.newest {
		return
	}
	m.newest = max(m.newest, h.Epoch)
	m.hold, m.full = h, true
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
