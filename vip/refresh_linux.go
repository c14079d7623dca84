package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// refresher sends the packets that the gate's rules act on: for each IPv4 address an IP packet and an ARP frame, for each IPv6 address
// an IP packet, all from that address to the loopback interface. 2 to 3 µs each. Not safe for concurrent use.
type refresher struct {
	loopback uint32 // index of lo
	sends    []loopPacket
	sockets  []int
	mark     uint32 // of the sockets
}

// loopPacket is one prepared packet.
type loopPacket struct {
	socket int
	data   []byte
	to     raw.Addr
	echoes bool // the sender hears whether a rule dropped it
}

// openRefresher opens the sockets in the network namespace of the calling thread.
func openRefresher(v4, v6 []netip.Addr) (_ *refresher, err error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback interface: %w", err)
	}
	r := &refresher{loopback: uint32(lo.Index)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if len(v4) > 0 {
		ip, err := r.open(unix.AF_INET, unix.IPPROTO_RAW)
		if err != nil {
			return nil, err
		}
		arp, err := r.open(unix.AF_PACKET, 0)
		if err != nil {
			return nil, err
		}
		for _, a := range v4 {
			r.sends = append(r.sends,
				loopPacket{ip, loopIPv4(a), raw.Inet4([4]byte{127, 0, 0, 1}, 0), true},
				loopPacket{arp, loopARP(a), raw.Link(bigEndian(etherARP), lo.Index), false})
		}
	}
	if len(v6) > 0 {
		ip, err := r.open(unix.AF_INET6, unix.IPPROTO_RAW)
		if err != nil {
			return nil, err
		}
		for _, a := range v6 {
			r.sends = append(r.sends, loopPacket{ip, loopIPv6(a), raw.Inet6([16]byte{15: 1}, 0, 0), true})
		}
	}
	return r, nil
}

func (r *refresher) open(domain, protocol int) (int, error) {
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EPERM) {
		return -1, fmt.Errorf("open raw socket: CAP_NET_RAW is needed: %w", err)
	}
	if err != nil {
		return -1, fmt.Errorf("open raw socket: %w", err)
	}
	r.sockets = append(r.sockets, fd)
	return fd, nil
}

func (r *refresher) close() {
	for _, fd := range r.sockets {
		unix.Close(fd) //nolint:errcheck // nothing was buffered
	}
	r.sockets, r.sends = nil, nil
}

// send sends all packets with mark. It gives errGateMissing if no rule took them. The first error ends it: a gate that is half open
// closes by itself.
func (r *refresher) send(mark uint32) error {
	if mark != r.mark {
		for _, fd := range r.sockets {
			if err := raw.Mark(fd, mark); err != nil {
				return fmt.Errorf("mark a raw socket: CAP_NET_ADMIN is needed: %w", err)
			}
		}
		r.mark = mark
	}
	for _, p := range r.sends {
		err := raw.Send(p.socket, p.data, p.to)
		switch {
		case p.echoes && err == nil:
			return errGateMissing
		case p.echoes && errors.Is(err, unix.EPERM):
		case err != nil:
			return fmt.Errorf("send to the loopback interface (is lo up?): %w", err)
		}
	}
	return nil
}

func loopIPv4(from netip.Addr) []byte {
	b := make([]byte, 20) // the kernel fills in length and checksum
	b[0], b[8], b[9] = 0x45, 1, protocolLoop
	copy(b[12:], from.AsSlice())
	copy(b[16:], []byte{127, 0, 0, 1})
	return b
}

func loopIPv6(from netip.Addr) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, protocolLoop, 1
	copy(b[8:], from.AsSlice())
	b[39] = 1
	return b
}

func loopARP(from netip.Addr) []byte {
	b := arpFrame(1, from, make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))
	clear(b[:6]) // to lo's own address, which is all zeros
	return b
}

// bigEndian gives v in network byte order, as packet sockets want their protocol.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
