package registrar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	udpHeader  = 8
	ipv4Header = 20
	ipv6Header = 40
	hopLimit   = 64
)

// spoofer sends UDP datagrams with any source address, by raw sockets whose users write the IP header themselves: raw(7), IP_HDRINCL.
type spoofer struct {
	mu  sync.Mutex
	fds [2]int // of IPv4 and IPv6, plus 1; 0: not open
}

var errFamilies = errors.New("the phone and the server do not speak the same version of IP")

// send sends a UDP datagram.
func (s *spoofer) send(from, to netip.AddrPort, payload []byte) error {
	if ipv6Header+udpHeader+len(payload) > 1<<16-1 {
		return unix.EMSGSIZE
	}
	from, to = unmapped(from), unmapped(to)
	return s.sendSegment(from, to, unix.IPPROTO_UDP, udpDatagram(from, to, payload))
}

// sendSegment sends what a transport protocol would.
func (s *spoofer) sendSegment(from, to netip.AddrPort, protocol byte, segment []byte) error {
	if from.Addr().Is4() != to.Addr().Is4() {
		return errFamilies
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.Addr().Is4() {
		fd, err := s.open(0, unix.AF_INET)
		if err != nil {
			return err
		}
		return unix.Sendto(fd, ipv4Packet(from.Addr(), to.Addr(), protocol, segment), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.Addr().As4()})
	}
	fd, err := s.open(1, unix.AF_INET6)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, ipv6Packet(from.Addr(), to.Addr(), protocol, segment), unix.MSG_DONTWAIT, &unix.SockaddrInet6{Addr: to.Addr().As16()})
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// open opens the socket of a family. IPPROTO_RAW means that the header is included, for both.
func (s *spoofer) open(i, family int) (int, error) {
	if s.fds[i] == 0 {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
		if err != nil {
			return 0, fmt.Errorf("open a raw socket: %w", os.NewSyscallError("socket", err))
		}
		s.fds[i] = fd + 1
	}
	return s.fds[i] - 1, nil
}

// Close closes the sockets.
func (s *spoofer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i, fd := range s.fds {
		if fd > 0 {
			errs = append(errs, unix.Close(fd-1))
		}
		s.fds[i] = 0
	}
	return errors.Join(errs...)
}

// ipv4Packet is a packet with its header (RFC 791, 3.1). The kernel fills in identification and the header's checksum.
func ipv4Packet(from, to netip.Addr, protocol byte, segment []byte) []byte {
	p := make([]byte, ipv4Header, ipv4Header+len(segment))
	p[0] = 4<<4 | ipv4Header/4
	binary.BigEndian.PutUint16(p[2:], uint16(ipv4Header+len(segment)))
	p[8], p[9] = hopLimit, protocol
	copy(p[12:], from.AsSlice())
	copy(p[16:], to.AsSlice())
	return append(p, segment...)
}

// ipv6Packet is likewise (RFC 8200, 3).
func ipv6Packet(from, to netip.Addr, protocol byte, segment []byte) []byte {
	p := make([]byte, ipv6Header, ipv6Header+len(segment))
	p[0] = 6 << 4
	binary.BigEndian.PutUint16(p[4:], uint16(len(segment)))
	p[6], p[7] = protocol, hopLimit
	copy(p[8:], from.AsSlice())
	copy(p[24:], to.AsSlice())
	return append(p, segment...)
}

// udpDatagram is a datagram without the header of IP (RFC 768).
func udpDatagram(from, to netip.AddrPort, payload []byte) []byte {
	length := uint16(udpHeader + len(payload))
	d := make([]byte, 0, length)
	d = binary.BigEndian.AppendUint16(d, from.Port())
	d = binary.BigEndian.AppendUint16(d, to.Port())
	d = binary.BigEndian.AppendUint16(d, length)
	d = append(d, 0, 0)
	d = append(d, payload...)
	sum := transportSum(from.Addr(), to.Addr(), unix.IPPROTO_UDP, d)
	if sum == 0 {
		sum = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(d[6:], sum)
	return d
}

// transportSum is the checksum of a segment and its pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
func transportSum(from, to netip.Addr, protocol byte, segment []byte) uint16 {
	sum := checksum(checksum(0, from.AsSlice()), to.AsSlice()) + uint32(protocol) + uint32(len(segment))
	sum = checksum(sum, segment)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// checksum adds up b in pairs of octets (RFC 1071). What has been added is at most some 64 KiB, so that nothing is lost.
func checksum(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
