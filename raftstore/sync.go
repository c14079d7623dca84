package raftstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// syncPoint is the leader's answer to how far the log is committed: the barrier that it committed after it was asked, its term, and
// the newest entry of the record then.
type syncPoint struct {
	Term    uint64 `json:"term"`
	Barrier uint64 `json:"barrier"`
	Record  uint64 `json:"record"`
}

const (
	syncRetry = 20 * time.Millisecond
	syncPoll  = 2 * time.Millisecond
	syncTime  = 5 * time.Second
)

// catchUp works until this node has applied everything that was committed before it started. Then its record is reported as synced,
// and a node that was being brought up to date has its vote back.
func (e *engine) catchUp(ctx context.Context) {
	for {
		err := e.syncOnce(ctx)
		if err == nil {
			break
		}
		if !sleep(ctx, syncRetry) {
			return
		}
	}
	if e.trans.voteless.Load() {
		if err := e.s.folder.setPhase(phaseReady); err != nil {
			e.restart <- err
			return
		}
		e.trans.voteless.Store(false)
		e.s.log.Info("state brought up to date, this node votes again")
	}
	e.s.state.setSynced()
}

// syncOnce gets a sync point from whoever leads now and waits until it is applied here.
func (e *engine) syncOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	if e.leads() {
		_, err := e.syncPoint(ctx)
		return err
	}
	point, err := e.askPoint(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(syncPoll)
	defer tick.Stop()
	for e.raft.AppliedIndex() < point.Barrier || e.s.state.view.Load().index < point.Record {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// askPoint asks the others: raft may not have heard of its leader yet.
func (e *engine) askPoint(ctx context.Context) (*syncPoint, error) {
	term := e.raft.CurrentTerm()
	err := ErrNoLeader
	for _, id := range sortedIDs(e.s.net.peers) {
		s := e.s.net.peers[id].session()
		if s == nil {
			continue
		}
		a, askErr := s.ask(ctx, request{Sync: true})
		switch {
		case askErr != nil:
			err = askErr
		case a.err() != nil:
			err = a.err()
		case a.Sync == nil || a.Sync.Term < term:
			err = errors.New("the answer is from a former leader")
		default:
			return a.Sync, nil
		}
	}
	return nil, err
}

// syncPoint gives the point for somebody who asked just now. The barrier is an entry of its own: once a majority has it, this node
// led after the question came, and everything committed before has been applied here. VerifyLeader would not do, as it also counts a
// heartbeat that was answered before the question (hashicorp/raft replication.go, notifyAll).
func (e *engine) syncPoint(ctx context.Context) (syncPoint, error) {
	f := e.raft.Barrier(e.s.o.Timing.RaftTransport)
	if err := e.await(ctx, f); err != nil {
		return syncPoint{}, fmt.Errorf("commit a barrier: %w", fromRaft(err))
	}
	indexed, ok := f.(raft.IndexFuture)
	if !ok {
		return syncPoint{}, errors.New("commit a barrier: raft does not tell its index")
	}
	var l raft.Log
	if err := e.disk.GetLog(indexed.Index(), &l); err != nil {
		return syncPoint{}, fmt.Errorf("commit a barrier: %w", err)
	}
	if err := e.disk.failure(); err != nil {
		return syncPoint{}, err
	}
	e.announce(indexed.Index())
	return syncPoint{Term: l.Term, Barrier: l.Index, Record: e.s.state.view.Load().index}, nil
}

// ask collects what the other nodes say about their own state, right now.
func (s *Store) askStandings(ctx context.Context) map[nodeID]standing {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	type told struct {
		from nodeID
		standing
	}
	ch := make(chan told, len(s.net.peers))
	asked := 0
	for id, p := range s.net.peers {
		session := p.session()
		if session == nil {
			continue
		}
		asked++
		s.wg.Go(func() {
			a, err := session.ask(ctx, request{Standing: true})
			if err != nil || a.err() != nil || a.Standing == nil {
				ch <- told{}
				return
			}
			ch <- told{id, *a.Standing}
		})
	}
	out := map[nodeID]standing{}
	for range asked {
		if t := <-ch; t.from != "" {
			out[t.from] = t.standing
		}
	}
	return out
}

func (s *Store) logWaiting(why string) {
	s.waiting.Store(&why)
	if why != "" {
		s.net.quiet.log(s.log.Warn, "waiting for the other nodes", "", why, zap.String("node", string(s.o.Self)))
	}
}
