package sipserver

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// From linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	reqLen           = 56 // struct inet_diag_req_v2
	msgLen           = 72 // struct inet_diag_msg
	attrBytecode     = 1  // INET_DIAG_REQ_BYTECODE
	attrV6Only       = 11 // INET_DIAG_SKV6ONLY
	portAtLeast      = 2  // INET_DIAG_BC_S_GE
	portAtMost       = 3  // INET_DIAG_BC_S_LE
	stateUnconnected = 7  // TCP_CLOSE, the state of a UDP socket without a peer
	stateListen      = 10 // TCP_LISTEN
	offState         = 1
	offSourcePort    = 4
	offDestPort      = 6
	offSourceAddress = 8
	offReceiveQueue  = 56
	offInode         = 68
	maxDump          = 1 << 20
	dumpBuffer       = 64 << 10
)

// socket is a socket that something listens on.
type socket struct {
	transport string // "udp" or "tcp"
	addr      netip.AddrPort
	v6only    bool
	inode     uint64
	unread    int // UDP: octets in the receive queue
}

// serves tells whether a datagram or connection to l reaches the socket.
func (s socket) serves(l Socket) bool {
	transport := l.Transport
	if transport == "tls" {
		transport = "tcp"
	}
	at, want := s.addr.Addr(), l.Addr.Addr().Unmap()
	switch {
	case s.transport != transport || s.addr.Port() != l.Addr.Port():
		return false
	case at.Unmap() == want.WithZone(""):
		return true
	case !at.IsUnspecified():
		return false
	case at.Is4():
		return want.Is4()
	default:
		return want.Is6() || !s.v6only
	}
}

// diag asks the kernel for sockets, in the network namespace in which it was opened.
type diag struct {
	fd  int
	seq uint32
	buf []byte
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &diag{fd: fd, buf: make([]byte, dumpBuffer)}, nil
}

func (d *diag) close() { unix.Close(d.fd) }

// listeners gives the sockets that listen on ports from low to high.
func (d *diag) listeners(udp, tcp bool, low, high uint16) ([]socket, error) {
	var all []socket
	for _, q := range []struct {
		wanted    bool
		transport string
		protocol  uint8
		state     uint32
	}{{udp, "udp", unix.IPPROTO_UDP, stateUnconnected}, {tcp, "tcp", unix.IPPROTO_TCP, stateListen}} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			if !q.wanted {
				continue
			}
			if err := d.ask(family, q.protocol, 1<<q.state, low, high); err != nil {
				return nil, fmt.Errorf("ask for %s sockets: %w", q.transport, err)
			}
			found, err := d.answers(q.transport, all)
			if err != nil {
				return nil, fmt.Errorf("list %s sockets: %w", q.transport, err)
			}
			all = found
		}
	}
	return all, nil
}

func (d *diag) ask(family, protocol uint8, states uint32, low, high uint16) error {
	const attr = 4 + 16
	d.seq++
	b := make([]byte, 0, unix.SizeofNlMsghdr+reqLen+attr)
	b = binary.NativeEndian.AppendUint32(b, uint32(cap(b)))
	b = binary.NativeEndian.AppendUint16(b, sockDiagByFamily)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = binary.NativeEndian.AppendUint32(b, d.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, protocol, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, states)
	b = append(b, make([]byte, 48)...) // any address
	b = binary.NativeEndian.AppendUint16(b, attr)
	b = binary.NativeEndian.AppendUint16(b, attrBytecode)
	for i, op := range []struct {
		code byte
		port uint16
	}{{portAtLeast, low}, {portAtMost, high}} { // each: if it holds go on after 8 octets, else beyond the end, which rejects
		b = append(b, op.code, 8)
		b = binary.NativeEndian.AppendUint16(b, uint16(16-8*i+4))
		b = append(b, 0, 0)
		b = binary.NativeEndian.AppendUint16(b, op.port)
	}
	return unix.Sendto(d.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// answers appends the answer to the last question.
func (d *diag) answers(transport string, all []socket) ([]socket, error) {
	for range maxDump / dumpBuffer {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err != nil {
			return nil, err
		}
		for b := d.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				return nil, unix.EBADMSG
			}
			kind, seq, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]
			b = b[min(len(b), (size+3)&^3):]
			switch {
			case seq != d.seq: // left over from a question that timed out
			case kind == unix.NLMSG_DONE:
				return all, nil
			case kind == unix.NLMSG_ERROR && len(body) >= 4:
				return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
			case kind == sockDiagByFamily && len(body) >= msgLen:
				all = append(all, parseSocket(transport, body))
			}
		}
	}
	return nil, unix.E2BIG
}

// parseSocket reads a struct inet_diag_msg with its attributes.
func parseSocket(transport string, b []byte) socket {
	addr := netip.AddrFrom4([4]byte(b[offSourceAddress:]))
	if b[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(b[offSourceAddress:]))
	}
	s := socket{
		transport: transport,
		addr:      netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[offSourcePort:])),
		inode:     uint64(binary.NativeEndian.Uint32(b[offInode:])),
	}
	if transport == "udp" {
		s.unread = int(binary.NativeEndian.Uint32(b[offReceiveQueue:]))
	}
	for a := b[msgLen:]; len(a) >= 4; {
		size := int(binary.NativeEndian.Uint16(a))
		if size < 4 || size > len(a) {
			break
		}
		if binary.NativeEndian.Uint16(a[2:]) == attrV6Only && size > 4 {
			s.v6only = a[4] != 0
		}
		a = a[min(len(a), (size+3)&^3):]
	}
	return s
}
