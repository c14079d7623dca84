package traffic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/traffic/hep"
)

// hepListener takes HEP version 3 over UDP.
type hepListener struct {
	addr netip.AddrPort
	take func(p *hep.Packet, at time.Duration)
	bad  func()
	lost func(datagrams uint64)

	socket *raw.Socket
	buf    []byte
	packet hep.Packet
	drops  uint32        // as the kernel counts them
	looked time.Duration // at drops
}

const (
	hepBuffer    = 4 << 20 // of the socket, octets
	hepAtOnce    = 1024    // datagrams before others have their turn
	lookForDrops = time.Second
)

func (l *hepListener) name() string { return "HEP " + l.addr.String() }

func (l *hepListener) open(p *raw.Poller, ready func() error) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.addr))
	if err != nil {
		return fmt.Errorf("listen for HEP: %w", err)
	}
	if l.socket, err = raw.Detach(conn); err != nil {
		return fmt.Errorf("listen for HEP: %w", err)
	}
	_ = l.socket.Control(func(fd int) {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, hepBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, hepBuffer) // less is no error: losses are counted
		}
	})
	l.buf, l.drops = make([]byte, 1<<16), 0
	if err := p.Watch(l.socket, ready); err != nil {
		return errors.Join(err, l.close())
	}
	return nil
}

// read takes what has arrived, up to a bound: the poller calls again for the rest.
func (l *hepListener) read() error {
	now := raw.Clock()
	if now-l.looked >= lookForDrops {
		l.looked = now
		l.readLosses()
	}
	for range hepAtOnce {
		n, err := l.socket.Receive(l.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("receive HEP: %w", err)
		}
		if hep.Parse(l.buf[:n], &l.packet) != nil {
			l.bad()
			continue
		}
		l.take(&l.packet, now)
	}
	return nil
}

// readLosses asks how many datagrams did not fit into the socket's buffer.
func (l *hepListener) readLosses() {
	_ = l.socket.Control(func(fd int) {
		var info [9]uint32 // SK_MEMINFO_VARS
		size := uint32(unsafe.Sizeof(info))
		_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if e == 0 && info[unix.SK_MEMINFO_DROPS] != l.drops {
			l.lost(uint64(info[unix.SK_MEMINFO_DROPS] - l.drops))
			l.drops = info[unix.SK_MEMINFO_DROPS]
		}
	})
}

func (l *hepListener) close() error {
	if l.socket == nil {
		return nil
	}
	err := l.socket.Close()
	l.socket, l.buf = nil, nil
	return err
}
