package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// proposeTime bounds a proposal whose caller does not.
const proposeTime = 5 * time.Second

// Send passes a lease message to another node, or drops it: nothing is waited for, and only counters tell.
func (s *Store) Send(to supervisor.NodeID, m supervisor.Message) {
	if p, ok := s.net.peers[to]; ok {
		p.lease.send(m)
	}
}

// Report passes this node's report to both others over the control streams, now and to whoever connects later. The newest one wins.
func (s *Store) Report(r supervisor.Report) {
	s.net.report.Store(&r)
	for _, p := range s.net.peers {
		if session := p.session(); session != nil {
			session.poke()
		}
	}
}

// DialMember opens a stream to the other member, for what goes neither through Raft nor with the reports. It gets there as OnStream has it.
func (s *Store) DialMember(ctx context.Context, to supervisor.NodeID) (net.Conn, error) {
	p, ok := s.net.peers[to]
	if !ok {
		return nil, fmt.Errorf("raftstore: no node %q", to)
	}
	conn, err := p.dialRun(ctx, alpnMembers, greetTimeout)
	if err != nil {
		return nil, fmt.Errorf("raftstore: stream to %s: %w", to, plain(err))
	}
	return conn, nil
}

// Propose commits an entry, by way of the leader if that is another node. The error is why it did not apply (supervisor.ErrStaleEpoch,
// ErrPaused, ErrBudget), ErrNoLeader if nothing was proposed, or ErrUnknownOutcome.
func (s *Store) Propose(ctx context.Context, entry supervisor.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTime)
	defer cancel()
	if e := s.engine.Load(); e != nil && e.leads() {
		return e.apply(ctx, entry)
	}
	session, err := s.leaderSession()
	if err != nil {
		return err
	}
	a, err := session.ask(ctx, request{Propose: &entry})
	if err != nil {
		return &remoteError{text: fmt.Sprintf("%v: ask %s: %v", ErrUnknownOutcome, session.peer.node.ID, err), is: ErrUnknownOutcome}
	}
	return a.err()
}

// leaderSession is the control stream to the node that leads Raft, if that is another one.
func (s *Store) leaderSession() (*session, error) {
	s.mu.Lock()
	leader := s.leader
	s.mu.Unlock()
	p, ok := s.net.peers[leader]
	if !ok {
		return nil, ErrNoLeader
	}
	session := p.session()
	if session == nil {
		return nil, &remoteError{text: fmt.Sprintf("%v: %s is not connected", ErrNoLeader, leader), is: ErrNoLeader}
	}
	return session, nil
}

// Campaign starts an election on this node at once. The other voters grant it although they may believe in a leader, so it is for
// when a majority has found that leader silent. Nothing happens if this node leads, has no vote now, is in an election already or was
// a moment ago: every campaign raises the term and deposes whoever leads, so a stream of them would let nobody lead.
func (s *Store) Campaign() {
	e := s.engine.Load()
	if e == nil || e.raft.State() != raft.Follower {
		return
	}
	now, last := int64(time.Since(origin))+1, e.campaigned.Load()
	if last != 0 && now-last < int64(s.o.Timing.RaftHeartbeat/4) || !e.campaigned.CompareAndSwap(last, now) {
		return
	}
	e.start(func() { e.trans.campaign(s.o.Timing.RaftTransport) })
}

// Transfer moves leadership to another node, if this one leads and that one is connected and up to date.
func (s *Store) Transfer(ctx context.Context, to supervisor.NodeID) error {
	e := s.engine.Load()
	if e == nil || !e.leads() {
		return fmt.Errorf("transfer leadership: %w here", ErrNoLeader)
	}
	return e.transfer(ctx, to)
}

// serve answers a peer.
func (s *Store) serve(ctx context.Context, _ supervisor.NodeID, q request) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, proposeTime)
	defer cancel()
	var err error
	switch e := s.engine.Load(); {
	case q.Standing:
		a.Standing, err = s.standing(e)
	case e == nil || !e.leads():
		err = ErrNoLeader
	case q.Propose != nil:
		err = e.apply(ctx, *q.Propose)
	case q.Sync:
		var point syncPoint
		point, err = e.syncPoint(ctx)
		a.Sync = &point
	default:
		err = errors.New("unknown request")
	}
	a.Code, a.Text = codeOf(err)
	return a
}

// standing says how far this node's own state can be trusted. While a store that should be there is not open it says nothing.
func (s *Store) standing(e *engine) (*standing, error) {
	phase := s.folder.phase()
	switch {
	case e != nil:
		return &standing{Phase: phase, Term: e.raft.CurrentTerm(), Last: e.raft.LastIndex()}, e.disk.failure()
	case phase == phaseNew || phase == phaseLost:
		return &standing{Phase: phase}, nil
	}
	return nil, errors.New("the store is not open")
}

// Status is a snapshot for people and metrics.
type Status struct {
	State     string // leader, follower, candidate; stopped while raft does not run
	Leader    supervisor.NodeID
	Term      uint64
	LastIndex uint64
	Applied   uint64
	Synced    bool
	Phase     string        // how far the state folder is trusted: new, lost, learning, ready
	Waiting   string        // why raft does not run: for whom it waits, or what an operator has to do
	StoreErr  string        // what is wrong with the state folder
	Stalled   time.Duration // how long the write under way has taken
	Peers     map[supervisor.NodeID]PeerStatus
	Lease     LeaseCounters
}

// Status gives the present status.
func (s *Store) Status() Status {
	st := Status{State: "stopped", Phase: string(s.folder.phase()), Lease: s.net.lease.count.read(), Peers: map[supervisor.NodeID]PeerStatus{}}
	s.mu.Lock()
	st.Leader = s.leader
	s.mu.Unlock()
	st.Synced = s.state.view.Load().synced
	st.Waiting = *s.waiting.Load()
	if why := s.broken.Load(); why != nil {
		st.StoreErr = *why
	}
	if e := s.engine.Load(); e != nil {
		st.State = stateNames[e.raft.State()]
		st.Term, st.LastIndex, st.Applied = e.raft.CurrentTerm(), e.raft.LastIndex(), e.raft.AppliedIndex()
		st.Stalled = e.disk.stalled()
	}
	for id, p := range s.net.peers {
		st.Peers[id] = p.status()
	}
	return st
}

var stateNames = map[raft.RaftState]string{
	raft.Follower: "follower", raft.Candidate: "candidate", raft.Leader: "leader", raft.Shutdown: "stopped",
}
