package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// buffered is how many octets the kernel is asked to hold for us.
const buffered = 8 << 20

// socket is the one unconnected UDP socket of a family that all its devices are asked from.
type socket struct {
	*raw.Socket
	v6    bool
	bound netip.Addr // source address; zero: the kernel chooses for each device
	port  uint16
	scout *raw.Socket // finds out what the kernel chooses
}

// openSocket opens the socket of a family. A source of the other family is none.
func openSocket(v6 bool, source netip.Addr) (*socket, error) {
	source = source.Unmap()
	network, from := "udp4", netip.IPv4Unspecified()
	if v6 {
		network, from = "udp6", netip.IPv6Unspecified()
	}
	s := &socket{v6: v6}
	if source.IsValid() && source.Is4() != v6 {
		from, s.bound = source, source
	}
	conn, err := (&net.ListenConfig{Control: prepare(v6)}).ListenPacket(context.Background(), network, netip.AddrPortFrom(from, 0).String())
	if err != nil {
		return nil, err
	}
	s.port = uint16(conn.LocalAddr().(*net.UDPAddr).Port)
	if s.Socket, err = raw.Detach(conn.(*net.UDPConn)); err != nil {
		return nil, err
	}
	if s.bound.IsValid() {
		return s, nil
	}
	scout, err := net.ListenUDP(network, nil)
	if err == nil {
		s.scout, err = raw.Detach(scout)
	}
	if err != nil {
		return nil, errors.Join(err, s.Socket.Close())
	}
	return s, nil
}

func (s *socket) close() error {
	if s == nil {
		return nil
	}
	if s.scout != nil {
		return errors.Join(s.Socket.Close(), s.scout.Close())
	}
	return s.Socket.Close()
}

// prepare has the kernel report errors and buffer much.
func prepare(v6 bool) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			level, option := unix.SOL_IP, unix.IP_RECVERR
			if v6 {
				level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
			}
			if err = unix.SetsockoptInt(int(fd), level, option, 1); err != nil {
				err = fmt.Errorf("ask for errors: %w", err)
				return
			}
			for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
				if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, buffered) != nil { // without CAP_NET_ADMIN
					_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, plain, buffered) // as much as is allowed
				}
			}
		})
		return errors.Join(ctlErr, err)
	}
}

// local gives the address that a datagram to a place leaves from.
func (s *socket) local(to *place) (netip.Addr, error) {
	if s.bound.IsValid() {
		return s.bound, nil
	}
	var from place
	var e unix.Errno
	err := s.scout.Control(func(fd int) {
		nobody := unix.RawSockaddr{Family: unix.AF_UNSPEC} // else the first choice sticks
		_, _, _ = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nobody)), unsafe.Sizeof(nobody))
		if _, _, e = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.octets)), uintptr(to.size)); e != 0 {
			return
		}
		from.size = uint32(len(from.octets))
		_, _, e = unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&from.octets)), uintptr(unsafe.Pointer(&from.size)))
	})
	if e != 0 {
		return netip.Addr{}, e
	}
	return from.addr(), err
}
