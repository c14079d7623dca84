package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packets asks gateways and hears their answers, with a packet socket for each monitor that has one. Not safe for concurrent use.
type packets struct {
	open map[int]*wire
	got  chan answer
}

// wire is the packet socket of one monitor.
type wire struct {
	index  int
	file   *os.File
	conn   syscall.RawConn
	reader sync.WaitGroup
}

func newPackets() *packets { return &packets{open: map[int]*wire{}, got: make(chan answer, 16)} }

func (p *packets) answers() <-chan answer { return p.got }

// ask sends a request, in the network namespace of the calling thread the first time. What the kernel couldn't send counts as lost.
func (p *packets) ask(q question) error {
	w := p.open[q.monitor]
	if w != nil && w.index != q.link.index {
		p.hangUp(q.monitor)
		w = nil
	}
	if w == nil {
		var err error
		if w, err = p.dial(q); lost(err) {
			return nil
		}
		if err != nil {
			return err
		}
		p.open[q.monitor] = w
	}
	var sendErr error
	err := w.conn.Control(func(fd uintptr) {
		sendErr = unix.Sendto(int(fd), request(q), 0, &unix.SockaddrLinklayer{
			Protocol: bigEndian(etherType(q)), Ifindex: q.link.index, Halen: 6, Addr: [8]byte{q.to[0], q.to[1], q.to[2], q.to[3], q.to[4], q.to[5]},
		})
	})
	if err = errors.Join(err, sendErr); err != nil && !lost(err) {
		p.hangUp(q.monitor)
		return fmt.Errorf("ask gateway %s by %s: %w", q.gateway, q.link.name, err)
	}
	return nil
}

// lost tells errors that say that the packet went nowhere, as it may on the wire. What happened to the interface is told by its events.
func lost(err error) bool {
	for _, e := range []error{unix.ENOBUFS, unix.EAGAIN, unix.ENETDOWN, unix.ENXIO, unix.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func etherType(q question) uint16 {
	if q.gateway.Is4() {
		return etherARP
	}
	return etherIPv6
}

// dial opens a socket that hears nothing but what may come from the gateway.
func (p *packets) dial(q question) (*wire, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // protocol 0: hears nothing as yet
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open packet socket: CAP_NET_RAW is needed: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	w := &wire{index: q.link.index, file: os.NewFile(uintptr(fd), "packet")}
	err = filter(fd, q)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(etherType(q)), Ifindex: q.link.index})
	}
	if err == nil {
		w.conn, err = w.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for gateway %s on %s: %w", q.gateway, q.link.name, err), w.file.Close())
	}
	w.reader.Go(func() { w.read(q, p.got) })
	return w, nil
}

// read passes answers on until the socket is closed. One that finds got full is one of many, and dropped.
func (w *wire) read(q question, got chan<- answer) {
	b := make([]byte, 256)
	_ = w.conn.Read(func(fd uintptr) bool { // ends when the file is closed
		for {
			n, from, err := unix.Recvfrom(int(fd), b, 0)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
				continue // the interface was set down: told once
			case err != nil:
				return true
			}
			var sender [6]byte
			if l, ok := from.(*unix.SockaddrLinklayer); ok {
				sender = [6]byte(l.Addr[:])
			}
			if mac, ok := proves(q.gateway, b[:n], sender); ok {
				select {
				case got <- answer{q.monitor, mac}:
				default:
				}
			}
		}
	})
}

// filter has the kernel drop everything that proves doesn't want to see, before it wakes anybody.
func filter(fd int, q question) error {
	const reject, accept = 0, 256
	var program []bpf.Instruction
	same := func(offset uint32, size int, value uint32) {
		program = append(program, bpf.LoadAbsolute{Off: offset, Size: size},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1}, bpf.RetConstant{Val: reject})
	}
	if q.gateway.Is4() {
		a := q.gateway.As4()
		same(14, 4, binary.BigEndian.Uint32(a[:]))
	} else {
		a := q.gateway.As16()
		same(6, 1, protocolICMPv6)
		same(ipv6HeaderSize, 1, neighbourAdvert)
		for i := 0; i < 16; i += 4 {
			same(uint32(ipv6HeaderSize+8+i), 4, binary.BigEndian.Uint32(a[i:]))
		}
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: accept}))
	if err != nil {
		return fmt.Errorf("make a packet filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

func (p *packets) hangUp(monitor int) {
	w := p.open[monitor]
	delete(p.open, monitor)
	w.file.Close() //nolint:errcheck // nothing was buffered
	w.reader.Wait()
}

func (p *packets) close() {
	for i := range p.open {
		p.hangUp(i)
	}
}

// bigEndian gives v as the kernel wants a protocol in a socket address.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
