package raftstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// peer is one of the two other nodes: its control stream, if there is one, and its lease keys. Of a pair of nodes the one whose name
// sorts first dials.
type peer struct {
	net   *network
	node  Node
	lease *leaseSender

	admitting sync.Mutex // one newcomer at a time

	mu      sync.Mutex
	current *session
	up      chan struct{} // closed while current is set
	last    hello         // of the newest session
	remote  string        // its address
	refused string        // why no stream came to be, last time
}

const (
	backoffFirst = 10 * time.Millisecond // after a stream that worked
	backoffMin   = 50 * time.Millisecond
	backoffMax   = time.Second
	backoffAlive = 200 * time.Millisecond // the host answers, the process is not there yet
	probeTime    = 300 * time.Millisecond // for the older of two streams of one name to show that it lives
)

func newPeer(n *network, node Node) *peer {
	return &peer{net: n, node: node, lease: newLeaseSender(n.lease), up: make(chan struct{})}
}

func (p *peer) dials() bool { return p.net.o.Self < p.node.ID }

func (p *peer) session() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// upCh is closed while the control stream is up.
func (p *peer) upCh() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

func (p *peer) closeSession() {
	if s := p.session(); s != nil {
		s.conn.NetConn().Close()
	}
}

// run keeps the peer's address known and, if it is this side's part, a stream open.
func (p *peer) run(ctx context.Context) {
	wait := backoffMin
	for ctx.Err() == nil {
		if err := p.resolve(ctx); err != nil {
			p.note(err)
		}
		if !p.dials() {
			p.rest(ctx)
			continue
		}
		err := p.connect(ctx)
		if err == nil {
			wait = backoffFirst
		} else if ctx.Err() == nil {
			p.note(err)
		}
		if !sleep(ctx, wait) {
			return
		}
		wait = min(max(2*wait, backoffMin), backoffMax)
		if errors.Is(err, syscall.ECONNREFUSED) {
			wait = min(wait, backoffAlive)
		}
	}
}

// rest passes the time of a side that is dialed: its peer's address may be a name that changes its meaning.
func (p *peer) rest(ctx context.Context) {
	if _, err := netip.ParseAddrPort(p.node.Addr); err == nil {
		<-ctx.Done()
		return
	}
	sleep(ctx, 5*time.Second)
}

func (p *peer) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(p.node.Addr)
	if err != nil {
		return err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err = p.lease.setAddr(netip.AddrPortFrom(a, uint16(number))); err == nil {
			return nil
		}
	}
	return err
}

// note keeps and logs why there is no stream to the peer.
func (p *peer) note(err error) {
	err = plain(err)
	p.mu.Lock()
	p.refused = err.Error()
	p.mu.Unlock()
	p.net.quiet.log(p.net.log.Warn, "peer not reached", string(p.node.ID), err.Error(), zap.String("peer", string(p.node.ID)), zap.String("link", p.node.Addr))
}

// connect dials the peer and serves the stream until it ends. The error is why there was none.
func (p *peer) connect(ctx context.Context) error {
	conn, h, err := p.net.dial(ctx, p, alpnControl, greetTimeout)
	if err != nil {
		return err
	}
	send, receive, err := exportKeys(conn.ConnectionState(), true)
	if err == nil {
		// The acceptor has this session's keys in place: it sends its hello after that. It sends under them after our ready.
		p.net.lease.listen(p.node.ID, receive)
		p.lease.setKey(send)
		err = writeFrame(conn, frame{Ready: true})
	}
	if err != nil {
		conn.Close()
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	p.serve(ctx, newSession(p, conn, h))
	return nil
}

// acceptControl takes a control stream that the peer opened and serves it until it ends. The error is why it was refused.
func (p *peer) acceptControl(ctx context.Context, conn *tls.Conn, h hello, greeted func()) error {
	s, err := p.admit(conn, h)
	if err != nil {
		return err
	}
	greeted()
	p.finish(ctx, s, s.run(ctx))
	return nil
}

// admit decides whether a newcomer is the peer. The peer's older stream, if it is alive, tells that the newcomer is a second node of
// the same name; if it is not, the peer was restarted or its address changed, and the older one ends.
func (p *peer) admit(conn *tls.Conn, h hello) (*session, error) {
	if p.dials() {
		return nil, p.refuse(conn, fmt.Sprintf("%s dials %s, not the other way round", p.net.o.Self, p.node.ID))
	}
	p.admitting.Lock()
	defer p.admitting.Unlock()
	if old := p.session(); old != nil {
		if old.hello.Boot != h.Boot && old.alive(probeTime) {
			return nil, p.refuse(conn, fmt.Sprintf("two nodes are named %q, one at %s (since %s) and one at %s: the first is kept; stop the second, or give it its own name and certificate",
				p.node.ID, old.remote, old.since.Format(time.RFC3339), conn.RemoteAddr()))
		}
		old.conn.NetConn().Close()
		<-old.done
	}
	_ = conn.SetDeadline(time.Now().Add(greetTimeout))
	send, receive, err := exportKeys(conn.ConnectionState(), false)
	if err != nil {
		return nil, err
	}
	p.net.lease.listen(p.node.ID, receive)
	if err := writeFrame(conn, p.net.hello()); err != nil {
		return nil, err
	}
	if err := expectReady(conn); err != nil {
		return nil, err
	}
	p.lease.setKey(send)
	_ = conn.SetDeadline(time.Time{})
	s := newSession(p, conn, h)
	p.begin(s)
	return s, nil
}

func expectReady(conn *tls.Conn) error {
	f, err := readFrame(conn)
	switch {
	case err != nil:
		return fmt.Errorf("wait until the caller is ready: %w", err)
	case f.Refuse != "":
		return &refusedError{f.Refuse}
	case !f.Ready:
		return fmt.Errorf("wait until the caller is ready: %w", errFrame)
	}
	return nil
}

// refuse tells the other side why, in one sentence, and gives it as an error for this side.
func (p *peer) refuse(conn *tls.Conn, why string) error {
	_ = conn.SetDeadline(time.Now().Add(greetTimeout))
	_ = writeFrame(conn, frame{Refuse: fmt.Sprintf("%s: %s", p.net.o.Self, why)})
	_ = conn.CloseWrite()
	return errors.New(why)
}

// acceptRaft takes a Raft stream of the run of the process that the newest control stream is from. Another node of the same name gets
// no further than this.
func (p *peer) acceptRaft(conn *tls.Conn, h hello) error {
	if err := p.checkBoot(h); err != nil {
		return p.refuse(conn, err.Error())
	}
	if err := writeFrame(conn, p.net.hello()); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	if streams := p.net.streams.Load(); streams != nil {
		streams.take(conn)
		return nil
	}
	conn.Close() // raft comes back later
	return nil
}

// acceptMember hands a stream of the other member to whoever speaks with it, and returns when it is over. A witness gets none: it is not to
// know who is registered.
func (p *peer) acceptMember(ctx context.Context, conn *tls.Conn, h hello, greeted func()) error {
	err := p.checkBoot(h)
	switch {
	case err == nil && (p.node.Witness || p.net.o.OnStream == nil):
		err = errors.New("this stream is between members that keep registrations")
		fallthrough
	case err != nil:
		return p.refuse(conn, err.Error())
	}
	if err := writeFrame(conn, p.net.hello()); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	greeted()
	p.net.o.OnStream(ctx, p.node.ID, conn)
	_ = conn.Close() // it is over, whoever ended it
	return nil
}

func (p *peer) checkBoot(h hello) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.last.Boot == 0:
		return fmt.Errorf("%s has no control stream with %s so far", p.node.ID, p.net.o.Self)
	case p.last.Boot != h.Boot:
		return fmt.Errorf("this is not the %s that has the control stream with %s (from %s)", p.node.ID, p.net.o.Self, p.remote)
	}
	return nil
}

// dialRun opens a stream, for Raft or another purpose, to the run of the process that the newest control stream is from.
func (p *peer) dialRun(ctx context.Context, purpose string, timeout time.Duration) (net.Conn, error) {
	conn, h, err := p.net.dial(ctx, p, purpose, timeout)
	if err != nil {
		return nil, err
	}
	if err := p.checkBoot(h); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

func (p *peer) serve(ctx context.Context, s *session) {
	p.begin(s)
	p.finish(ctx, s, s.run(ctx))
}

// begin makes s the peer's stream.
func (p *peer) begin(s *session) {
	p.mu.Lock()
	p.current, p.last, p.remote, p.refused = s, s.hello, s.remote, ""
	close(p.up)
	p.mu.Unlock()
	p.net.log.Info("peer connected", zap.String("peer", string(p.node.ID)), zap.String("link", s.remote))
	p.net.o.OnPeer(p.node.ID, true)
	p.net.connected()
}

// finish makes the peer streamless. Whoever waits for s.done finds that everybody was told.
func (p *peer) finish(ctx context.Context, s *session, why error) {
	s.conn.Close()
	p.mu.Lock()
	p.current, p.up = nil, make(chan struct{})
	p.mu.Unlock()
	write := p.net.log.Warn
	if ctx.Err() != nil {
		write, why = p.net.log.Info, errors.New("this node stops")
	}
	write("peer disconnected", zap.String("peer", string(p.node.ID)), zap.String("link", s.remote), zap.String("why", fmt.Sprint(why)))
	p.net.o.OnPeer(p.node.ID, false)
	close(s.done)
}

func setUserTimeout(fd int, d time.Duration) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}

// PeerStatus is what a node knows about another.
type PeerStatus struct {
	Up         bool
	Addr       string // of the stream, as seen from here
	RTT        time.Duration
	Since      time.Time
	Boot       uint64
	Version    string
	ConfigHash string
	Refused    string // without a stream: why, last time
}

func (p *peer) status() PeerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := PeerStatus{Addr: p.remote, Boot: p.last.Boot, Version: p.last.Version, ConfigHash: p.last.ConfigHash, Refused: p.refused}
	if s := p.current; s != nil {
		st.Up, st.RTT, st.Since = true, time.Duration(s.rtt.Load()), s.since
	}
	return st
}
