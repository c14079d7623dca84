package raftstore

import (
	"time"

	"go.uber.org/zap"
)

const (
	watchEvery = 100 * time.Millisecond
	stallAfter = 2 * time.Second
	stallAgain = time.Second
)

// watchdog remembers what was said about a disk that hangs. A raft leader whose disk hangs leads for ever: its heartbeats need no
// disk and its lease check waits behind the write (hashicorp/raft#503).
type watchdog struct {
	said time.Duration // how long the write had taken when it was last reported, 0 if none hangs
}

// watch looks at the write under way. One that takes too long cuts raft off from the others, who elect a leader with a working disk;
// the lease messages go on. When the write returns, raft is let back in: it learns that it was deposed.
func (e *engine) watch(w *watchdog) {
	switch stalled := e.disk.stalled(); {
	case stalled >= stallAfter && (w.said == 0 || stalled >= w.said+stallAgain):
		if w.said == 0 {
			e.trans.muted.Store(true)
			e.s.log.Error("state folder hangs, raft is cut off until it answers", zap.String("target", e.disk.path), zap.Duration("took", stalled))
		}
		w.said = stalled
		e.s.o.OnStall(stalled)
	case stalled < w.said: // that write has returned
		e.trans.muted.Store(false)
		e.s.log.Warn("state folder answers again", zap.String("target", e.disk.path), zap.Duration("took", w.said))
		w.said = 0
		e.s.o.OnStall(0)
	}
}
