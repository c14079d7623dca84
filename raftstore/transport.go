package raftstore

import (
	"errors"
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
	peers   map[supervisor.NodeID]*peer
	rpcs    chan raft.RPC
	raft    atomic.Pointer[raft.Raft] // set once it runs

	voteless atomic.Bool // being brought up to date: takes entries, gives and asks no votes
	muted    atomic.Bool // the disk hangs: as if cut off, so that the others elect a leader that can commit

	closed    chan struct{}
	closeOnce sync.Once
	wg        sync.WaitGroup
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
	waitPeer = time.Minute
)

func newTransport(n *network, timeout time.Duration, log hclog.Logger) *transport {
	t := &transport{
		streams: newRaftStreams(n), self: n.o.Self, peers: n.peers, rpcs: make(chan raft.RPC), closed: make(chan struct{}),
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
		t.wg.Go(func() { t.tell(id, news) })
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
	return t.NetworkTransport.RequestVote(id, to, q, r)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, q *raft.RequestPreVoteRequest, r *raft.RequestPreVoteResponse) error {
	if err := t.mayVote(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, to, q, r)
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

// AppendEntries implements raft.Transport. While a node is away, raft would wait longer after each failed attempt, up to 10 s, and be
// that late when the node is back (hashicorp/raft#494); instead the failed attempt itself takes until then. Heartbeats fail at once.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, q *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse) error {
	if t.muted.Load() {
		return errMuted
	}
	err := t.NetworkTransport.AppendEntries(id, to, q, r)
	heartbeat := q.PrevLogEntry == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
	if err != nil && !heartbeat {
		t.await(supervisor.NodeID(id))
	}
	return err
}

func (t *transport) leads() bool {
	r := t.raft.Load()
	return r != nil && r.State() == raft.Leader
}

// await waits for a peer to be connected, as long as this node leads.
func (t *transport) await(id supervisor.NodeID) {
	p, ok := t.peers[id]
	if !ok {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitPeer); time.Now().Before(end) && t.leads(); {
		select {
		case <-p.upCh():
			return
		case <-t.closed:
			return
		case <-tick.C:
		}
	}
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
	q := raft.AppendEntriesRequest{
		RPCHeader: t.header(), Term: term, Leader: []byte(t.self), PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
	}
	for _, ch := range t.news {
		select {
		case <-ch: // an older one that was not told yet
		default:
		}
		select {
		case ch <- q:
		default:
		}
	}
}

func (t *transport) tell(id supervisor.NodeID, news <-chan raft.AppendEntriesRequest) {
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
