package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
)

// raftLog lets the core use the store without waiting for it.
type raftLog struct {
	store *raftstore.Store
	post  func(supervisor.Event)
	log   *zap.Logger
	limit time.Duration
	tasks sync.WaitGroup
	slots chan struct{} // proposals under way
}

var _ supervisor.Log = (*raftLog)(nil)

func newRaftLog(store *raftstore.Store, post func(supervisor.Event), limit time.Duration, log *zap.Logger) *raftLog {
	return &raftLog{store: store, post: post, log: log.Named("raft"), limit: limit, slots: make(chan struct{}, 8)}
}

// Propose asks for the entry. The core asks again by itself: when all slots are taken, nothing is lost.
func (l *raftLog) Propose(e supervisor.Entry) {
	select {
	case l.slots <- struct{}{}:
	default:
		return
	}
	l.tasks.Go(func() {
		defer func() { <-l.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), l.limit)
		defer cancel()
		if err := l.store.Propose(ctx, e); err != nil {
			l.log.Debug("proposal failed", zap.Error(err))
			l.post(supervisor.Refused{Entry: e, Err: err})
		}
	})
}

// Campaign starts an election.
func (l *raftLog) Campaign() { l.store.Campaign() }

// Transfer gives leadership away, if that works now.
func (l *raftLog) Transfer(to supervisor.NodeID) {
	l.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), l.limit)
		defer cancel()
		if err := l.store.Transfer(ctx, to); err != nil {
			l.log.Info("leadership stays", zap.String("to", string(to)), zap.Error(err))
		}
	})
}
