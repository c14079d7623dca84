package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ears hear claims of the addresses on one interface, passively. Two packet sockets, each for one Ethernet type, with a filter in the
// kernel: whatever else arrives is not even copied.
type ears struct {
	group   []netip.Addr
	sockets []ear
}

// ear is one socket.
type ear struct {
	file     *os.File
	protocol uint16 // Ethernet type
	parse    func([]byte) (claim, bool)
}

// Whoever claims without end costs at most so many reads; the kernel drops the others.
const (
	heardLimit = 64
	heardSpan  = 100 * time.Millisecond
)

// openEars opens the sockets in the network namespace of the calling thread. They are deaf until they are used.
func openEars(group []netip.Prefix) (_ *ears, err error) {
	e := &ears{}
	var v4, v6 bool
	for _, p := range group {
		e.group = append(e.group, p.Addr())
		v4, v6 = v4 || p.Addr().Is4(), v6 || p.Addr().Is6()
	}
	if v4 {
		err = e.open(etherARP, arpClaim)
	}
	if v6 && err == nil {
		err = e.open(etherIPv6, ndClaim)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *ears) open(protocol uint16, parse func([]byte) (claim, bool)) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // protocol 0: receives nothing
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("open packet socket: CAP_NET_RAW is needed: %w", err)
	}
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<16) //nolint:errcheck // more is no error
	e.sockets = append(e.sockets, ear{os.NewFile(uintptr(fd), "packet"), protocol, parse})
	return nil
}

func (e *ears) close() error {
	var errs []error
	for _, s := range e.sockets {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// use turns the sockets to an interface, anew when it or its MAC has changed.
func (e *ears) use(l link) error {
	for _, s := range e.sockets {
		filter := ndFilter(e.group)
		if s.protocol == etherARP {
			filter = arpFilter(e.group, macOf(l.mac))
		}
		conn, err := s.file.SyscallConn()
		if err != nil {
			return err
		}
		ctlErr := conn.Control(func(fd uintptr) {
			if err = attach(int(fd), arriving(filter)); err == nil {
				err = unix.Bind(int(fd), &unix.SockaddrLinklayer{Protocol: bigEndian(s.protocol), Ifindex: l.index})
			}
		})
		if err := errors.Join(ctlErr, err); err != nil {
			return fmt.Errorf("listen for claims: %w", err)
		}
	}
	return nil
}

func attach(fd int, filter []bpf.Instruction) error {
	assembled, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(assembled))
	for i, in := range assembled {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// listen passes the claims on until the socket is closed.
func (s ear) listen(hear func(claim)) error {
	b := make([]byte, 1<<11)
	began, n := time.Now(), 0
	for {
		size, err := s.file.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, unix.ENETDOWN): // told once when the interface goes down or away
			continue
		case err != nil:
			return fmt.Errorf("listen for claims: %w", err)
		}
		if c, ok := s.parse(b[:size]); ok {
			hear(c)
		}
		if n++; n == heardLimit {
			time.Sleep(heardSpan - time.Since(began))
			began, n = time.Now(), 0
		}
	}
}
