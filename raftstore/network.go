package raftstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// network is one node's port: the TCP listener whose streams are told apart by ALPN, the lease socket, and the two peers.
type network struct {
	o        *Options
	log      *zap.Logger
	quiet    quiet
	roster   roster
	creds    credentials
	listener net.Listener
	lease    *leaseSocket
	peers    map[supervisor.NodeID]*peer
	report   atomic.Pointer[supervisor.Report]

	// serve answers a peer's request. Set before run.
	serve func(ctx context.Context, from supervisor.NodeID, q request) answer
	// connected is told of each new control stream. Set before run.
	connected func()
	streams   atomic.Pointer[raftStreams] // takes admitted Raft streams; nil while raft does not run

	mu    sync.Mutex
	greet map[string]int // handshakes under way, by the caller's IP address
	wg    sync.WaitGroup
}

const (
	greetTimeout = 3 * time.Second // handshake and hello
	greetPerHost = 16              // handshakes at a time from one address
)

// openNetwork takes the port and reads the certificates, so that what is wrong with either is an error right away.
func openNetwork(o *Options) (*network, error) {
	n := &network{
		o: o, log: o.Logger, roster: o.roster(), creds: credentials{files: o.TLS},
		peers: map[supervisor.NodeID]*peer{}, greet: map[string]int{},
	}
	l, err := n.creds.load()
	if err != nil {
		return nil, err
	}
	if err := n.checkOwn(l.id); err != nil {
		return nil, err
	}
	udp, err := n.bind(o.Listen)
	if err != nil {
		return nil, err
	}
	if n.lease, err = newLeaseSocket(udp, o.OnMessage); err != nil {
		n.close()
		return nil, err
	}
	for _, node := range o.Nodes {
		if node.ID != o.Self {
			n.peers[node.ID] = newPeer(n, node)
		}
	}
	return n, nil
}

// checkOwn holds this node's certificate to what its peers will ask of it.
func (n *network) checkOwn(id Identity) error {
	as := n.roster
	as.self = ""
	if _, err := as.admit(id, n.o.Self, time.Now()); err != nil {
		return fmt.Errorf("this node's own %w", err)
	}
	return nil
}

// bind takes the same port for TCP and UDP.
func (n *network) bind(addr string) (*net.UDPConn, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on this node's address: %w", err)
	}
	n.listener = listener
	port := listener.Addr().(*net.TCPAddr)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: port.IP, Port: port.Port, Zone: port.Zone})
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen on this node's address: %w", err)
	}
	return udp, nil
}

// run carries the traffic until ctx ends.
func (n *network) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 2)
	n.goWith(func() { failed <- n.lease.read(ctx) })
	n.goWith(func() { failed <- n.accept(ctx) })
	for _, p := range n.peers {
		n.goWith(func() { p.run(ctx) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	n.close()
	for _, p := range n.peers {
		p.closeSession()
	}
	n.wg.Wait()
	return err
}

func (n *network) close() {
	n.listener.Close()
	if n.lease != nil {
		_ = n.lease.close() // nothing was buffered
	}
}

func (n *network) goWith(fn func()) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		fn()
	}()
}

func (n *network) accept(ctx context.Context) error {
	for {
		conn, err := n.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of file descriptors, perhaps
			n.quiet.log(n.log.Warn, "callers can't be accepted", "", plain(err).Error())
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if !n.greeting(host, 1) {
			conn.Close()
			continue
		}
		n.goWith(func() {
			var once sync.Once
			greeted := func() { once.Do(func() { n.greeting(host, -1) }) }
			defer greeted()
			n.receive(ctx, conn, host, greeted)
		})
	}
}

// greeting counts callers that have not shown who they are.
func (n *network) greeting(host string, change int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if change > 0 && n.greet[host] >= greetPerHost {
		return false
	}
	if n.greet[host] += change; n.greet[host] == 0 {
		delete(n.greet, host)
	}
	return true
}

// receive finds out who calls and what for.
func (n *network) receive(ctx context.Context, tcp net.Conn, host string, greeted func()) {
	defer context.AfterFunc(ctx, func() { tcp.Close() })()
	if conn, err := tcp.(*net.TCPConn).SyscallConn(); err == nil {
		_ = patience(n.o.Timing.ReportStale)("", "", conn)
	}
	conn, h, err := n.greetCaller(ctx, tcp)
	if err != nil {
		tcp.Close()
		n.quiet.log(n.log.Warn, "caller refused", host, plain(err).Error(), zap.String("link", host))
		return
	}
	p := n.peers[h.Node]
	switch conn.ConnectionState().NegotiatedProtocol {
	case alpnRaft:
		err = p.acceptRaft(conn, h)
	case alpnControl:
		err = p.acceptControl(ctx, conn, h, greeted)
	case alpnMembers:
		err = p.acceptMember(ctx, conn, h, greeted)
	default:
		err = errors.New("caller names no purpose")
	}
	if err != nil {
		conn.Close()
		n.quiet.log(n.log.Warn, "caller refused", string(h.Node), plain(err).Error(), zap.String("peer", string(h.Node)), zap.String("link", host))
	}
}

// greetCaller makes sure that the caller is one of the other nodes. One that our CA has signed is told why not.
func (n *network) greetCaller(ctx context.Context, tcp net.Conn) (*tls.Conn, hello, error) {
	_ = tcp.SetDeadline(time.Now().Add(greetTimeout))
	l, err := n.creds.load()
	if err != nil {
		n.quiet.log(n.log.Error, "new certificate files can't be used", "", err.Error())
	}
	conn := tls.Server(tcp, l.config(alpnRaft, alpnControl, alpnMembers))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, hello{}, explain(err)
	}
	h, err := expectHello(conn)
	if err != nil {
		return nil, hello{}, err
	}
	node, err := n.check(conn.ConnectionState(), h, "")
	if err != nil {
		_ = writeFrame(conn, frame{Refuse: fmt.Sprintf("%s: %v", n.o.Self, err)})
		_ = conn.CloseWrite()
		return nil, hello{}, err
	}
	h.Node = node.ID
	return conn, h, nil
}

// check holds certificate and hello of the other side to the configuration. want is the node that was dialed, if any.
func (n *network) check(cs tls.ConnectionState, h hello, want supervisor.NodeID) (Node, error) {
	id, err := Identify(cs.PeerCertificates[0])
	if err != nil {
		return Node{}, err
	}
	node, err := n.roster.admit(id, want, time.Now())
	switch {
	case err != nil:
		return Node{}, err
	case h.Protocol != protocol:
		return Node{}, fmt.Errorf("%s (version %s) speaks protocol %d, %s (version %s) speaks %d: run the same version on all nodes", node.ID, h.Version, h.Protocol, n.o.Self, n.o.Version, protocol)
	case h.Cluster != n.o.Cluster || h.Node != node.ID:
		return Node{}, fmt.Errorf("%s calls itself %q of cluster %q, its certificate says %s", node.ID, h.Node, h.Cluster, id)
	case h.Boot == 0:
		return Node{}, fmt.Errorf("%s has no boot number", node.ID)
	}
	return node, nil
}

func (n *network) setRaftStreams(l *raftStreams) { n.streams.Store(l) }

func (n *network) hello() frame {
	return frame{Hello: &hello{
		Cluster: n.o.Cluster, Node: n.o.Self, Boot: n.o.Boot, Version: n.o.Version, Protocol: protocol, ConfigHash: n.o.ConfigHash,
	}}
}

// dial opens a stream to a peer and exchanges hellos.
func (n *network) dial(ctx context.Context, p *peer, alpn string, timeout time.Duration) (*tls.Conn, hello, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tcp, err := (&net.Dialer{Control: patience(n.o.Timing.ReportStale)}).DialContext(ctx, "tcp", p.node.Addr)
	if err != nil {
		return nil, hello{}, err
	}
	defer context.AfterFunc(ctx, func() { tcp.SetDeadline(time.Unix(1, 0)) })()
	l, err := n.creds.load()
	if err != nil {
		n.quiet.log(n.log.Error, "new certificate files can't be used", "", err.Error())
	}
	conn := tls.Client(tcp, l.config(alpn))
	h, err := n.introduce(ctx, p, conn)
	if err != nil {
		conn.Close()
		return nil, hello{}, err
	}
	return conn, h, nil
}

func (n *network) introduce(ctx context.Context, p *peer, conn *tls.Conn) (hello, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return hello{}, explain(err)
	}
	id, err := Identify(conn.ConnectionState().PeerCertificates[0])
	if err == nil {
		_, err = n.roster.admit(id, p.node.ID, time.Now())
	}
	if err != nil {
		_ = writeFrame(conn, frame{Refuse: fmt.Sprintf("%s: %v", n.o.Self, err)})
		return hello{}, err
	}
	if err := writeFrame(conn, n.hello()); err != nil {
		return hello{}, explain(err)
	}
	h, err := expectHello(conn)
	if err != nil {
		return hello{}, explain(err)
	}
	_, err = n.check(conn.ConnectionState(), h, p.node.ID)
	return h, err
}

// patience makes the kernel give up a TCP connection whose data is not acknowledged for that long.
func patience(d time.Duration) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { setUserTimeout(int(fd), d) })
	}
}

// plain leaves the addresses out of a network error: they differ with every attempt.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil && op.Op != opAlert {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}

// sleep waits and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
