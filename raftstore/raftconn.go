package raftstore

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// raftStreams is raft's view of the network for one of its runs: it dials nodes by name and takes the streams that the network
// admits. Closing it closes every stream, so that none of raft's goroutines outlives the run.
type raftStreams struct {
	net      *network
	accepted chan net.Conn
	closed   chan struct{}
	ctx      context.Context // ends with the run; Dial has no other way to hear of it
	cancel   context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]bool
}

var _ raft.StreamLayer = (*raftStreams)(nil)

func newRaftStreams(n *network) *raftStreams {
	l := &raftStreams{net: n, accepted: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// take hands a stream to raft.
func (l *raftStreams) take(c net.Conn) {
	if c = l.track(c); c == nil {
		return
	}
	select {
	case l.accepted <- c:
	case <-l.closed:
	}
}

// Accept implements net.Listener.
func (l *raftStreams) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer. Addresses are node names.
func (l *raftStreams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	p, ok := l.net.peers[supervisor.NodeID(address)]
	if !ok {
		return nil, &net.AddrError{Err: "no such node", Addr: string(address)}
	}
	c, err := p.dialRun(l.ctx, alpnRaft, timeout)
	if err != nil {
		return nil, plain(err)
	}
	if c = l.track(c); c == nil {
		return nil, net.ErrClosed
	}
	return c, nil
}

// track remembers an open stream; nil if the run is over.
func (l *raftStreams) track(c net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		c.Close()
		return nil
	}
	t := &trackedConn{Conn: c, streams: l}
	l.conns[t] = true
	return t
}

// Close implements net.Listener.
func (l *raftStreams) Close() error {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	if conns == nil {
		return nil
	}
	l.cancel()
	close(l.closed)
	for c := range conns {
		c.Close()
	}
	return nil
}

// Addr implements net.Listener: raft takes this node's name for its address.
func (l *raftStreams) Addr() net.Addr { return nodeAddr(l.net.o.Self) }

type nodeAddr supervisor.NodeID

func (nodeAddr) Network() string  { return "understudy" }
func (a nodeAddr) String() string { return string(a) }

type trackedConn struct {
	net.Conn
	streams *raftStreams
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.streams.mu.Lock()
	delete(c.streams.conns, c)
	c.streams.mu.Unlock()
	return c.Conn.Close()
}
