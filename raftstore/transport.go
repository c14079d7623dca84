package raftstore

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// transport is raft's network transport with what raft lacks: a gate for a node that may not vote yet or whose disk hangs, elections
// on demand, and news of commits that don't wait for a timer.
type transport struct {
	*raft.NetworkTransport
	streams *raftStreams
	self    supervisor.NodeID
	timeout time.Duration
	peers   map[supervisor.NodeID]*peer
	rpcs    chan raft.RPC
	raft    atomic.Pointer[raft.Raft] // set once it runs

	voteless atomic.Bool // being brought up to date: takes entries, gives and asks no votes
	muted    atomic.Bool // the disk hangs: as if cut off, so that the others elect a leader that can commit

	closed    chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup
	telling   sync.Mutex
	news      map[supervisor.NodeID]chan raft.AppendEntriesRequest // newest commit to tell
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)

	errVoteless = errors.New("this node is being brought up to date and has no vote")
	errMuted    = errors.New("this node's disk hangs")
)

const (
	maxPool  = 3
	retryMin = 10 * time.Millisecond
	retryMax = 250 * time.Millisecond
	retryEnd = time.Minute
)

func newTransport(n *network, timeout time.Duration, log hclog.Logger) *transport {
	t := &transport{
		streams: newRaftStreams(n), self: n.o.Self, timeout: timeout, peers: n.peers, rpcs: make(chan raft.RPC), closed: make(chan struct{}),
		news: map[supervisor.NodeID]chan raft.AppendEntriesRequest{},
	}
	t.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		// One RPC at a time: raft's pipeline can lock up for good (hashicorp/raft#612), and gains nothing with entries this rare.
		Stream: t.streams, MaxPool: maxPool, MaxRPCsInFlight: 1, Timeout: timeout, Logger: log, MsgpackUseNewTimeFormat: true,
	})
	t.wg.Go(t.forward)
	for id := range n.peers {
		news := make(chan raft.AppendEntriesRequest, 1)
		t.news[id] = news
		t.wg.Go(func() { t.sendNews(id, news) })
	}
	return t
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	t.closeOnce.Do(func() { close(t.closed) })
	err := t.NetworkTransport.Close()
	t.wg.Wait()
	return err
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// forward passes on what other nodes ask of raft, as far as this node may answer.
func (t *transport) forward() {
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			if t.answer(rpc) {
				continue
			}
			select {
			case t.rpcs <- rpc:
			case <-t.closed:
				return
			}
		case <-t.closed:
			return
		}
	}
}

// answer keeps from raft what it must not do now.
func (t *transport) answer(rpc raft.RPC) bool {
	if t.muted.Load() {
		rpc.Respond(nil, errMuted)
		return true
	}
	if !t.voteless.Load() {
		return false
	}
	switch q := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		rpc.Respond(&raft.RequestVoteResponse{RPCHeader: t.header(), Term: q.Term}, nil)
	case *raft.RequestPreVoteRequest:
		rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: t.header(), Term: q.Term}, nil)
	case *raft.TimeoutNowRequest:
		rpc.Respond(nil, errVoteless)
	default:
		return false
	}
	return true
}

func (t *transport) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.self), Addr: []byte(t.self)}
}

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(fn func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if t.muted.Load() {
			rpc.Respond(nil, errMuted)
			return
		}
		fn(rpc)
	})
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, q *raft.RequestVoteRequest, r *raft.RequestVoteResponse) error {
	if err := t.mayVote(); err != nil {
		return err
	}
	return t.ask(func() error { return t.NetworkTransport.RequestVote(id, to, q, r) })
}

// ask repeats a call that failed at once. The pool may hold streams to a process that has since been restarted, and raft asks each
// voter only once: one stale stream would cost a whole election timeout.
func (t *transport) ask(call func() error) error {
	start, err := time.Now(), call()
	for range maxPool {
		if err == nil || time.Since(start) > t.timeout/2 {
			break
		}
		err = call()
	}
	return err
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, q *raft.RequestPreVoteRequest, r *raft.RequestPreVoteResponse) error {
	if err := t.mayVote(); err != nil {
		return err
	}
	return t.ask(func() error { return t.NetworkTransport.RequestPreVote(id, to, q, r) })
}

func (t *transport) mayVote() error {
	switch {
	case t.muted.Load():
		return errMuted
	case t.voteless.Load():
		return errVoteless
	}
	return nil
}

// AppendEntries implements raft.Transport. Raft would wait longer after each failed attempt, up to 10 s, and be that late when the node
// is back (hashicorp/raft#494); so failures are dealt with here, up to a point. Heartbeats fail at once.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, q *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse) error {
	heartbeat := q.PrevLogEntry == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
	p := t.peers[supervisor.NodeID(id)]
	for wait, end := retryMin, time.Now().Add(retryEnd); ; wait = min(2*wait, retryMax) {
		if t.muted.Load() {
			return errMuted
		}
		err := t.NetworkTransport.AppendEntries(id, to, q, r)
		if err == nil {
			t.followUp(supervisor.NodeID(id), q)
			return nil
		}
		if heartbeat || time.Now().After(end) || !t.await(p, wait) {
			return err
		}
	}
}

func (t *transport) leads() bool {
	r := t.raft.Load()
	return r != nil && r.State() == raft.Leader
}

// await waits a while, or for a peer that is away to be connected, and reports whether this node still leads.
func (t *transport) await(p *peer, wait time.Duration) bool {
	connected := p.upCh()
	select {
	case <-connected:
		connected = nil // that is not what it waits for
	default:
		wait = retryEnd
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for t.leads() {
		select {
		case <-connected:
			return true
		case <-timer.C:
			return true
		case <-t.closed:
			return false
		case <-tick.C:
		}
	}
	return false
}

// campaign makes raft stand for election now, with votes that override what the voters believe about a leader. It may take until raft
// is free to listen.
func (t *transport) campaign(within time.Duration) {
	if t.mayVote() != nil {
		return
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	rpc := raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: t.header()}, RespChan: make(chan raft.RPCResponse, 1)}
	select {
	case t.rpcs <- rpc:
	case <-timer.C:
	case <-t.closed:
	}
}

// announce tells the others that an entry of this leader's own term is committed; raft itself would tell them by its next append or
// after CommitTimeout. It is what any append of this leader would say, and stays true whatever happens.
func (t *transport) announce(index, term uint64) {
	for id := range t.news {
		t.tell(id, index, term)
	}
}

// followUp is for a follower that got an entry after it was committed without it: the announcement came too early for it.
func (t *transport) followUp(id supervisor.NodeID, q *raft.AppendEntriesRequest) {
	if len(q.Entries) == 0 {
		return
	}
	commit := t.raft.Load().CommitIndex()
	for _, l := range slices.Backward(q.Entries) {
		if l.Index <= commit && l.Term == q.Term {
			t.tell(id, l.Index, l.Term)
			return
		}
	}
}

// tell queues news for one node. The newest wins.
func (t *transport) tell(id supervisor.NodeID, index, term uint64) {
	q := raft.AppendEntriesRequest{
		RPCHeader: t.header(), Term: term, Leader: []byte(t.self), PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
	}
	t.telling.Lock()
	defer t.telling.Unlock()
	select {
	case older := <-t.news[id]:
		if older.PrevLogEntry > index {
			q = older
		}
	default:
	}
	t.news[id] <- q // has room: nobody else fills it
}

func (t *transport) sendNews(id supervisor.NodeID, news <-chan raft.AppendEntriesRequest) {
	for {
		select {
		case q := <-news:
			var r raft.AppendEntriesResponse
			if !t.muted.Load() && t.peers[id].session() != nil {
				_ = t.NetworkTransport.AppendEntries(raft.ServerID(id), raft.ServerAddress(id), &q, &r)
			}
		case <-t.closed:
			return
		}
	}
}
