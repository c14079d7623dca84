package raftstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// engine is one run of raft on one opened disk. A process may have several, one after the other: a disk that failed takes its run
// with it, and the next one starts from what is really on disk, as after a crash.
type engine struct {
	s     *Store
	disk  *disk
	trans *transport
	raft  *raft.Raft

	wake    chan raft.Observation // the leader may have changed
	notify  chan bool             // this node's leadership has: raft waits until it is read
	restart chan error
	stuck   atomic.Int64 // since when raft refuses proposals for a transfer, nanoseconds after origin

	campaigned atomic.Int64 // when raft was last made to stand for election

	mu    sync.Mutex
	ended bool
	busy  sync.WaitGroup // goroutines that wait for raft
}

const (
	snapshotEvery = 512 // entries: months of ordinary life
	notifyBuffer  = 64
	stuckLimit    = 2 * time.Second
	stopLimit     = 5 * time.Second
)

var errHung = errors.New("raft can't be stopped: a write to the state folder hangs; the process has to be restarted")

func (s *Store) newEngine(d *disk, voteless bool) (*engine, error) {
	e := &engine{s: s, disk: d, wake: make(chan raft.Observation, 1), notify: make(chan bool, notifyBuffer), restart: make(chan error, 1)}
	logger := newRaftLogger(s.log.Named("raft"))
	e.trans = newTransport(s.net, s.o.Timing.RaftTransport, logger)
	e.trans.voteless.Store(voteless)
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(s.o.Self)
	conf.HeartbeatTimeout, conf.ElectionTimeout = s.o.Timing.RaftHeartbeat, s.o.Timing.RaftHeartbeat
	conf.LeaderLeaseTimeout = s.o.Timing.RaftHeartbeat / 2
	conf.SnapshotThreshold, conf.TrailingLogs = snapshotEvery, snapshotEvery
	conf.CommitTimeout = s.o.Timing.RaftHeartbeat / 2 // followers learn of commits by announce; this is for news that got lost
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	conf.NotifyCh = e.notify
	conf.Logger = logger
	machine := &fsm{state: s.state, failed: d.failure, applied: e.announce}
	err := guard(func() (err error) { // raft panics if what it finds in the log is not what it wrote
		e.raft, err = raft.NewRaft(conf, machine, d, d, d, e.trans)
		return err
	})
	if err != nil {
		e.trans.Close()
		return nil, fmt.Errorf("start raft: %w", err)
	}
	e.trans.raft.Store(e.raft)
	e.raft.RegisterObserver(raft.NewObserver(e.wake, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	s.net.setRaftStreams(e.trans.streams)
	return e, nil
}

// run drives raft until ctx ends, its disk fails or it has to be started anew; the error says which.
func (e *engine) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { e.watchLeader(ctx) })
	wg.Go(func() { e.catchUp(ctx) })
	var err error
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for w := (watchdog{}); err == nil; {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-e.disk.Failed:
			err = e.disk.failure()
		case err = <-e.restart:
		case <-tick.C:
			e.watch(&w)
		}
	}
	e.trans.muted.Store(true) // from here on raft may be wrong about itself
	cancel()
	wg.Wait()
	if stopErr := e.stop(); stopErr != nil {
		return stopErr
	}
	return err
}

// stop ends raft and closes the disk. Both are given up if a write hangs.
func (e *engine) stop() error {
	e.s.net.setRaftStreams(nil)
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		_ = e.raft.Shutdown().Error()
		e.busy.Wait()
		e.disk.close()
		close(done)
	}()
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-e.notify: // raft waits until somebody knows
		case <-t.C:
			return errHung
		}
	}
}

// watchLeader tells of every change of the leader, in order.
func (e *engine) watchLeader(ctx context.Context) {
	defer e.s.setLeader("")
	tick := time.NewTicker(e.s.o.Timing.RaftHeartbeat)
	defer tick.Stop()
	for {
		_, id := e.raft.LeaderWithID()
		e.s.setLeader(supervisor.NodeID(id))
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-e.notify:
		case <-tick.C:
		}
	}
}

func (e *engine) leads() bool { return e.raft.State() == raft.Leader }

// announce tells the others of a commit, if this node leads.
func (e *engine) announce(index uint64) {
	var l raft.Log
	r := e.trans.raft.Load()
	if r == nil || r.State() != raft.Leader || e.disk.GetLog(index, &l) != nil || l.Term != r.CurrentTerm() {
		return
	}
	e.trans.announce(index, l.Term)
}

// apply commits an entry as leader and gives what the record says to it.
func (e *engine) apply(ctx context.Context, entry supervisor.Entry) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	f := e.raft.Apply(data, e.s.o.Timing.RaftTransport)
	err = e.await(ctx, f)
	e.noteStuck(err)
	if err != nil {
		return fromRaft(err)
	}
	if err, ok := f.Response().(error); ok {
		return err
	}
	return nil
}

// start runs fn beside, unless the run is over.
func (e *engine) start(fn func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.busy.Go(fn)
	}
	return !e.ended
}

// await waits for raft without being held by it.
func (e *engine) await(ctx context.Context, f raft.Future) error {
	ch := make(chan error, 1)
	if !e.start(func() { ch <- f.Error() }) {
		return raft.ErrRaftShutdown
	}
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noteStuck starts raft anew if it never ends a leadership transfer (hashicorp/raft#696).
func (e *engine) noteStuck(err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		e.stuck.Store(0)
		return
	}
	now := int64(time.Since(origin)) + 1
	if e.stuck.CompareAndSwap(0, now) || now-e.stuck.Load() < int64(stuckLimit) {
		return
	}
	select {
	case e.restart <- fmt.Errorf("raft is stuck: %w", err):
	default:
	}
}

// transfer moves leadership to a node that is known to be there and up to date. To any other raft would try as well, refuse proposals
// meanwhile, and may then refuse them for ever (hashicorp/raft#696).
func (e *engine) transfer(ctx context.Context, to supervisor.NodeID) error {
	p, ok := e.s.net.peers[to]
	if !ok {
		return fmt.Errorf("transfer leadership: %q is no other node of the pair", to)
	}
	s := p.session()
	if s == nil {
		return fmt.Errorf("transfer leadership: %s is not connected", to)
	}
	quick, cancel := context.WithTimeout(ctx, e.s.o.Timing.RaftTransport)
	defer cancel()
	commit := e.raft.CommitIndex()
	a, err := s.ask(quick, request{Standing: true})
	switch {
	case err != nil:
		return fmt.Errorf("transfer leadership: ask %s: %w", to, err)
	case a.err() != nil:
		return fmt.Errorf("transfer leadership: ask %s: %w", to, a.err())
	case a.Standing == nil || a.Standing.Phase != phaseReady || a.Standing.Last < commit:
		return fmt.Errorf("transfer leadership: %s is not up to date", to)
	}
	if err := e.await(ctx, e.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to))); err != nil {
		return fmt.Errorf("transfer leadership to %s: %w", to, fromRaft(err))
	}
	e.s.log.Info("leadership transferred", zap.String("to", string(to)))
	return nil
}
