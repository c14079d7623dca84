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

func (s *spoofer) send(from, to netip.AddrPort, payload []byte) error {
	from, to = unmapped(from), unmapped(to)
	if from.Addr().Is4() != to.Addr().Is4() {
		return errFamilies
	}
	if ipv6Header+udpHeader+len(payload) > 1<<16-1 {
		return unix.EMSGSIZE
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.Addr().Is4() {
		fd, err := s.open(0, unix.AF_INET)
		if err != nil {
			return err
		}
		return unix.Sendto(fd, ipv4Packet(from, to, payload), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.Addr().As4()})
	}
	fd, err := s.open(1, unix.AF_INET6)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, ipv6Packet(from, to, payload), unix.MSG_DONTWAIT, &unix.SockaddrInet6{Addr: to.Addr().As16()})
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

// ipv4Packet is a datagram with its headers (RFC 791, 3.1; RFC 768). The kernel fills in identification and the header's checksum.
func ipv4Packet(from, to netip.AddrPort, payload []byte) []byte {
	total := ipv4Header + udpHeader + len(payload)
	p := make([]byte, ipv4Header, total)
	p[0] = 4<<4 | ipv4Header/4
	binary.BigEndian.PutUint16(p[2:], uint16(total))
	p[8], p[9] = hopLimit, unix.IPPROTO_UDP
	copy(p[12:], from.Addr().AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	return appendUDP(p, from, to, payload)
}

// ipv6Packet is likewise (RFC 8200, 3).
func ipv6Packet(from, to netip.AddrPort, payload []byte) []byte {
	p := make([]byte, ipv6Header, ipv6Header+udpHeader+len(payload))
	p[0] = 6 << 4
	binary.BigEndian.PutUint16(p[4:], uint16(udpHeader+len(payload)))
	p[6], p[7] = unix.IPPROTO_UDP, hopLimit
	copy(p[8:], from.Addr().AsSlice())
	copy(p[24:], to.Addr().AsSlice())
	return appendUDP(p, from, to, payload)
}

func appendUDP(p []byte, from, to netip.AddrPort, payload []byte) []byte {
	length := uint16(udpHeader + len(payload))
	at := len(p)
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, to.Port())
	p = binary.BigEndian.AppendUint16(p, length)
	p = append(p, 0, 0)
	p = append(p, payload...)
	sum := checksum(checksum(0, from.Addr().AsSlice()), to.Addr().AsSlice()) + unix.IPPROTO_UDP + uint32(length) // the pseudo-header
	sum = checksum(sum, p[at:])
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(p[at+6:], uint16(sum))
	return p
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
