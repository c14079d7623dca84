package status

import "time"

// reuse is for how long an answer of the daemon serves further requests. It bounds what probes cost: at most 200 looks a second.
const reuse = 5 * time.Millisecond

// view asks the daemon for its Snapshot on behalf of many requests at a time.
type view struct {
	ask  func() Snapshot
	turn chan struct{} // holds one token while somebody asks or reads last
	last seen
}

func newView(ask func() Snapshot) *view { return &view{ask: ask, turn: make(chan struct{}, 1)} }

// seen is a Snapshot and what can be relied upon of it.
type seen struct {
	Snapshot
	self  Node
	asked time.Time // on the monotonic clock, before the daemon was asked
	lease time.Time // until when this node's lease runs at least: what was left is counted from the question, not from the answer
}

// look gives a Snapshot that was asked for at most reuse before the call. Requests that come while the daemon is being asked share the
// next answer, so that a daemon that hangs holds each up twice as long as one look takes and no longer.
func (v *view) look() seen {
	arrived := time.Now()
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	if v.last.asked.IsZero() || v.last.asked.Before(arrived.Add(-reuse)) {
		asked := time.Now()
		s := v.ask()
		self, _ := s.node(s.Node)
		left := time.Duration(self.LeaseLeftMS * float64(time.Millisecond))
		v.last = seen{Snapshot: s, self: self, asked: asked, lease: asked.Add(left)}
	}
	return v.last
}
