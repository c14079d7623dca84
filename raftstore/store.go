package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

type nodeID = supervisor.NodeID

// Store is one node's part of the replicated record and its end of the traffic between the nodes.
type Store struct {
	o      *Options
	log    *zap.Logger
	net    *network
	folder *folder
	state  *state
	first  *disk // what Open found, for Run

	engine  atomic.Pointer[engine]
	waiting atomic.Pointer[string] // why raft does not run, for people
	broken  atomic.Pointer[string] // what is wrong with the state folder
	before  func(op string) error  // tests inject faults into the disk

	mu      sync.Mutex
	leader  nodeID
	running bool
	closed  bool
	cancel  context.CancelFunc
	done    chan struct{} // closed when Run has returned

	wg sync.WaitGroup
}

const (
	joinRetry = 100 * time.Millisecond
	storeWait = 2 * time.Second
)

// Open takes the state folder and the port. What is wrong with options, certificates, address or folder is an error right away; a
// damaged store is set aside and no error, as the others still have the record. Nothing is sent before Run.
func Open(o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{o: &o, log: o.Logger, state: newState(o.OnRecord), done: make(chan struct{})}
	s.waiting.Store(new(string))
	var err error
	if s.folder, err = openFolder(s.o); err != nil {
		return nil, err
	}
	if s.first, err = s.folder.load(); err != nil {
		s.folder.close()
		return nil, err
	}
	if s.net, err = openNetwork(s.o); err != nil {
		if s.first != nil {
			s.first.close()
		}
		s.folder.close()
		return nil, err
	}
	s.net.serve = s.serve
	s.net.connected = func() {
		if e := s.engine.Load(); e != nil {
			e.announce(e.raft.CommitIndex())
		}
	}
	return s, nil
}

// Run carries the traffic and takes part in Raft until ctx ends or Close is called, then returns nil. A state folder that fails is no
// reason to return, only one that hangs while Run is to end.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.closed || s.running {
		s.mu.Unlock()
		return ErrClosed
	}
	s.running, s.cancel = true, cancel
	s.mu.Unlock()
	defer close(s.done)
	failed := make(chan error, 1)
	s.wg.Go(func() {
		err := s.net.run(ctx)
		cancel()
		failed <- err
	})
	err := s.runRaft(ctx)
	cancel()
	err = errors.Join(err, <-failed)
	s.wg.Wait()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if !errors.Is(err, errHung) { // else the folder stays locked until the late write can do no harm
		s.folder.close()
	}
	return err
}

// Close ends Run and gives folder and port free.
func (s *Store) Close() error {
	s.mu.Lock()
	running, closed := s.running, s.closed
	s.closed = true
	if running {
		s.cancel()
	}
	s.mu.Unlock()
	if running {
		<-s.done
		return nil
	}
	if !closed {
		s.net.close()
		if s.first != nil {
			s.first.close()
		}
		s.folder.close()
	}
	return nil
}

// runRaft keeps raft running on whatever store there is.
func (s *Store) runRaft(ctx context.Context) error {
	for {
		d, voteless, err := s.join(ctx)
		if err == nil {
			err = s.runEngine(ctx, d, voteless)
		}
		switch {
		case errors.Is(err, errHung):
			return err
		case ctx.Err() != nil:
			return nil
		}
		if !s.heal(ctx, err) {
			return nil
		}
	}
}

func (s *Store) runEngine(ctx context.Context, d *disk, voteless bool) error {
	d.before = s.before
	e, err := s.newEngine(d, voteless)
	if err != nil {
		d.close()
		return err
	}
	s.logWaiting("")
	s.engine.Store(e)
	err = e.run(ctx)
	s.engine.Store(nil)
	return err
}

// heal waits until the state folder can be used again.
func (s *Store) heal(ctx context.Context, err error) bool {
	text := err.Error()
	s.broken.Store(&text)
	s.o.OnStore(err)
	s.log.Error("raft stopped on this node, it has no vote until it runs again", zap.String("why", text))
	if errors.Is(err, unix.EIO) {
		// What the kernel could not write it forgets, and shows the file as if it had (fsync gives such an error once): only a new
		// process on a sound disk may believe the file again.
		s.log.Error("the disk gives I/O errors: replace it, or restart this node to try again", zap.String("target", s.o.Dir))
		<-ctx.Done()
		return false
	}
	for {
		if !sleep(ctx, storeWait) {
			return false
		}
		if err = s.folder.probe(); err == nil {
			break
		}
		s.net.quiet.log(s.log.Error, "state folder still fails", s.o.Dir, err.Error())
	}
	s.broken.Store(nil)
	s.o.OnStore(nil)
	return true
}

// join opens the store, or makes one after asking the others what this node may have forgotten.
func (s *Store) join(ctx context.Context) (d *disk, voteless bool, err error) {
	if d, s.first = s.first, nil; d == nil {
		if d, err = s.folder.load(); err != nil {
			return nil, false, err
		}
	}
	if d != nil && s.o.AcceptLoss {
		if err := s.folder.setPhase(phaseReady); err != nil {
			d.close()
			return nil, false, err
		}
	}
	if d != nil {
		return d, s.folder.phase() == phaseLearning, nil
	}
	for {
		v, term, why := decideJoin(s.o.Self, s.folder.phase(), sortedIDs(s.net.peers), s.askStandings(ctx), s.o.AcceptLoss)
		if v != verdictWait {
			s.log.Info("store made", zap.String("why", why))
			return s.make(v, term)
		}
		s.logWaiting(why)
		if !sleep(ctx, joinRetry) {
			return nil, false, ctx.Err()
		}
	}
}

// make writes a new store. Its phase is written before it can be used: a node that is killed in between asks again.
func (s *Store) make(v verdict, term uint64) (*disk, bool, error) {
	voteless := v == verdictLearn
	if voteless {
		if err := s.folder.setPhase(phaseLearning); err != nil {
			return nil, false, err
		}
	}
	d, err := openDisk(s.folder.path(diskFile))
	if err != nil {
		return nil, false, err
	}
	err = d.prepare(term, v == verdictBegin, s.o.Nodes)
	if err == nil && !voteless {
		err = s.folder.setPhase(phaseReady)
	}
	if err != nil {
		d.close()
		return nil, false, fmt.Errorf("make store: %w", err)
	}
	return d, voteless, nil
}

func (s *Store) setLeader(id nodeID) {
	s.mu.Lock()
	changed := s.leader != id
	s.leader = id
	s.mu.Unlock()
	if changed {
		s.o.OnLeader(id)
	}
}
