package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// LeaseCounters count lease datagrams since the start. Only counters tell of bad ones: their sender may be anybody.
type LeaseCounters struct {
	Sent, Received uint64
	NoKey          uint64 // not sent: no control stream with that node was ever up
	SendErrors     uint64 // the kernel did not take it
	Malformed      uint64
	UnknownKey     uint64 // of a session that is gone, or somebody else's
	Forged         uint64
	Replayed       uint64
}

type leaseCounters struct {
	sent, received, noKey, sendErrors, malformed, unknownKey, forged, replayed atomic.Uint64
}

func (c *leaseCounters) read() LeaseCounters {
	return LeaseCounters{
		Sent: c.sent.Load(), Received: c.received.Load(), NoKey: c.noKey.Load(), SendErrors: c.sendErrors.Load(),
		Malformed: c.malformed.Load(), UnknownKey: c.unknownKey.Load(), Forged: c.forged.Load(), Replayed: c.replayed.Load(),
	}
}

// leaseSocket carries the lease messages of all peers. One goroutine reads and calls back; senders don't wait for anything.
type leaseSocket struct {
	socket    *raw.Socket
	poller    *raw.Poller
	v6        bool // the socket's family: addresses have to be in its form
	onMessage func(supervisor.NodeID, supervisor.Message)
	count     leaseCounters

	mu      sync.Mutex
	openers atomic.Pointer[map[uint32]*peerOpener] // by key id; replaced as a whole
}

// peerOpener is a key for receiving from one node. Those of one node are told apart by order.
type peerOpener struct {
	opener
	from  supervisor.NodeID
	order uint64
	used  bool
}

// maxOpeners bounds the keys that one node may have: the one in use and some newer that the other side may or may not have got.
const maxOpeners = 4

func newLeaseSocket(conn *net.UDPConn, onMessage func(supervisor.NodeID, supervisor.Message)) (_ *leaseSocket, err error) {
	l := &leaseSocket{onMessage: onMessage}
	l.openers.Store(&map[uint32]*peerOpener{})
	defer func() {
		if err != nil {
			err = fmt.Errorf("open lease socket: %w", errors.Join(err, l.close()))
		}
	}()
	if l.socket, err = raw.Detach(conn); err != nil {
		return nil, err
	}
	err = l.socket.Control(func(fd int) {
		if sa, err := unix.Getsockname(fd); err == nil {
			_, l.v6 = sa.(*unix.SockaddrInet6)
		}
		prefer(fd, l.v6)
	})
	if err != nil {
		return nil, err
	}
	l.poller, err = raw.NewPoller(nil) // the alarm is never set
	return l, err
}

func (l *leaseSocket) close() error {
	var errs []error
	if l.poller != nil {
		errs = append(errs, l.poller.Close())
	}
	if l.socket != nil {
		errs = append(errs, l.socket.Close())
	}
	return errors.Join(errs...)
}

// prefer marks a socket's packets as network control (DSCP CS6), where that is allowed.
func prefer(fd int, v6 bool) {
	const cs6, priority = 48 << 2, 6
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priority)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, cs6)
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, cs6)
	}
}

// sockaddr is an address in the socket's own form.
func (l *leaseSocket) sockaddr(a netip.AddrPort) (raw.Addr, error) {
	addr := a.Addr()
	if l.v6 {
		return raw.Inet6(addr.As16(), a.Port(), zoneIndex(addr.Zone())), nil
	}
	if addr = addr.Unmap(); !addr.Is4() {
		return raw.Addr{}, fmt.Errorf("%s can't be reached from an IPv4 address", a)
	}
	return raw.Inet4(addr.As4(), a.Port()), nil
}

func zoneIndex(zone string) uint32 {
	if ifi, err := net.InterfaceByName(zone); zone != "" && err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// read delivers datagrams until ctx ends.
func (l *leaseSocket) read(ctx context.Context) error {
	buf := make([]byte, 2048)
	err := l.poller.Watch(l.socket, func() error { return l.drain(buf) })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err == nil {
		err = l.poller.Run(ctx)
	}
	if err != nil {
		return fmt.Errorf("read lease datagrams: %w", err)
	}
	return nil
}

// drain delivers what lies in the socket.
func (l *leaseSocket) drain(buf []byte) error {
	for {
		n, err := l.socket.Receive(buf)
		switch {
		case err == nil:
			l.deliver(buf[:n])
		case errors.Is(err, unix.EAGAIN), errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
			// the last three: an ICMP error for something sent before
		default:
			return err
		}
	}
}

func (l *leaseSocket) deliver(packet []byte) {
	if len(packet) != leaseSize {
		l.count.malformed.Add(1)
		return
	}
	o, ok := (*l.openers.Load())[binary.BigEndian.Uint32(packet)]
	if !ok {
		l.count.unknownKey.Add(1)
		return
	}
	m, err := o.open(packet)
	switch {
	case errors.Is(err, errLeaseForged):
		l.count.forged.Add(1)
	case errors.Is(err, errLeaseReplay):
		l.count.replayed.Add(1)
	case err != nil:
		l.count.malformed.Add(1)
	default:
		if !o.used {
			l.retireBefore(o)
		}
		l.count.received.Add(1)
		l.onMessage(o.from, m)
	}
}

// retireBefore drops the keys older than one that the other side has proved to use.
func (l *leaseSocket) retireBefore(used *peerOpener) {
	used.used = true
	l.change(func(m map[uint32]*peerOpener) {
		maps.DeleteFunc(m, func(_ uint32, o *peerOpener) bool { return o.from == used.from && o.order < used.order })
	})
}

func (l *leaseSocket) change(fn func(map[uint32]*peerOpener)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(*l.openers.Load())
	fn(next)
	l.openers.Store(&next)
}

// listen accepts datagrams under one more key. The older ones stay valid until it was used: the other side may never learn that this
// session came to be.
func (l *leaseSocket) listen(from supervisor.NodeID, key leaseKey) {
	l.change(func(m map[uint32]*peerOpener) {
		var mine []*peerOpener
		for _, o := range m {
			if o.from == from {
				mine = append(mine, o)
			}
		}
		slices.SortFunc(mine, func(a, b *peerOpener) int { return int(a.order) - int(b.order) })
		next := &peerOpener{opener: opener{leaseKey: key}, from: from, order: 1}
		if len(mine) > 0 {
			next.order = mine[len(mine)-1].order + 1
		}
		if len(mine) >= maxOpeners {
			delete(m, mine[1].id) // the oldest unused one: mine[0] is the one in use
		}
		m[key.id] = next
	})
}

// leaseSender sends to one peer.
type leaseSender struct {
	socket *leaseSocket
	mu     sync.Mutex
	seal   *sealer
	to     raw.Addr
}

func newLeaseSender(l *leaseSocket) *leaseSender { return &leaseSender{socket: l} }

func (s *leaseSender) setAddr(a netip.AddrPort) error {
	to, err := s.socket.sockaddr(a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	return nil
}

func (s *leaseSender) setKey(key leaseKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seal = &sealer{leaseKey: key}
}

// send never waits for a full socket.
func (s *leaseSender) send(m supervisor.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seal == nil || !s.to.IsValid() {
		s.socket.count.noKey.Add(1)
		return
	}
	if err := s.socket.socket.Send(s.seal.seal(m), s.to); err != nil {
		s.socket.count.sendErrors.Add(1)
		return
	}
	s.socket.count.sent.Add(1)
}
