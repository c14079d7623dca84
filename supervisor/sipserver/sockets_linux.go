package sipserver

import (
	"encoding/binary"
	"errors"
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
	attrMemory       = 7  // INET_DIAG_SKMEMINFO, an array of 32 bit numbers
	attrV6Only       = 11 // INET_DIAG_SKV6ONLY
	memoryBuffer     = 1  // SK_MEMINFO_RCVBUF
	memoryDrops      = 8  // SK_MEMINFO_DROPS
	portAtLeast      = 2  // INET_DIAG_BC_S_GE
	portAtMost       = 3  // INET_DIAG_BC_S_LE
	stateEstablished = 1  // TCP_ESTABLISHED
	stateUnconnected = 7  // TCP_CLOSE, the state of a UDP socket without a peer
	stateCloseWait   = 8  // TCP_CLOSE_WAIT: the peer has ended, what it sent may still be unread
	stateListen      = 10 // TCP_LISTEN
	offState         = 1
	offSourcePort    = 4
	offDestPort      = 6
	offSourceAddress = 8
	offCookie        = 44
	offReceiveQueue  = 56
	offSendQueue     = 60
	offInode         = 68
	maxDump          = 1 << 20
	dumpBuffer       = 64 << 10
)

// socket is a socket that something listens on, or a connection.
type socket struct {
	transport string // "udp" or "tcp"
	state     byte
	addr      netip.AddrPort
	v6only    bool
	inode     uint64
	cookie    uint64 // unlike the inode, a connection that nobody accepted yet has one, and it is never used again
	unread    int    // octets in the receive queue; of a TCP listener: connections that wait to be accepted
	limit     int    // of unread: SO_RCVBUF as the kernel counts, or the backlog; 0 for a connection
	drops     uint32 // what the kernel threw away because of the limit, among other causes; it wraps around
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

// connections gives TCP connections whose local port is from low to high, or the first of them where there are very many. It walks
// through the table of all connections, so it is for rare occasions, and it leaves nothing behind that a later question would meet.
func connections(low, high uint16) ([]socket, error) {
	d, err := openDiag()
	if err != nil {
		return nil, err
	}
	defer d.close()
	var all []socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := d.ask(family, unix.IPPROTO_TCP, 1<<stateEstablished|1<<stateCloseWait, low, high); err != nil {
			return nil, fmt.Errorf("ask for connections: %w", err)
		}
		all, err = d.answers("tcp", all)
		if errors.Is(err, unix.E2BIG) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
	}
	return all, nil
}

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
	b = append(b, family, protocol, 1<<(attrMemory-1), 0)
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

// answers appends the answer to the last question. With E2BIG it gives what it has.
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
	return all, unix.E2BIG
}

// parseSocket reads a struct inet_diag_msg with its attributes.
func parseSocket(transport string, b []byte) socket {
	addr := netip.AddrFrom4([4]byte(b[offSourceAddress:]))
	if b[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(b[offSourceAddress:]))
	}
	s := socket{
		transport: transport,
		state:     b[offState],
		addr:      netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[offSourcePort:])),
		inode:     uint64(binary.NativeEndian.Uint32(b[offInode:])),
		cookie:    binary.NativeEndian.Uint64(b[offCookie:]),
		unread:    int(binary.NativeEndian.Uint32(b[offReceiveQueue:])),
	}
	if s.state == stateListen {
		s.limit = int(binary.NativeEndian.Uint32(b[offSendQueue:]))
	}
	for a := b[msgLen:]; len(a) >= 4; {
		size := int(binary.NativeEndian.Uint16(a))
		if size < 4 || size > len(a) {
			break
		}
		switch value := a[4:size]; binary.NativeEndian.Uint16(a[2:]) {
		case attrV6Only:
			s.v6only = len(value) > 0 && value[0] != 0
		case attrMemory:
			if len(value) >= 4*(memoryDrops+1) {
				s.drops = binary.NativeEndian.Uint32(value[4*memoryDrops:])
				if transport == "udp" {
					s.limit = int(binary.NativeEndian.Uint32(value[4*memoryBuffer:]))
				}
			}
		}
		a = a[min(len(a), (size+3)&^3):]
	}
	return s
}
