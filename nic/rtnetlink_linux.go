package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// rtnl asks the kernel about interfaces and addresses. Not safe for concurrent use.
//
// The kernel is asked for one interface, or for the addresses of one, wherever that is enough: with thousands of interfaces a list of
// all takes milliseconds.
type rtnl struct {
	fd  int
	seq uint32
	buf []byte
}

const (
	answerPatience    = 2 * time.Second // the kernel answers within the call
	dumpTries         = 5
	filterSkipStats   = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	netlinkHeaderSize = unix.SizeofNlMsghdr
)

// openRtnl works in the network namespace of the calling thread.
func openRtnl() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	limit := unix.NsecToTimeval(int64(answerPatience))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1), // lists are filtered by the kernel
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), unix.Close(fd))
	}
	return &rtnl{fd: fd, buf: make([]byte, 1<<16)}, nil
}

func (r *rtnl) close() { unix.Close(r.fd) } //nolint:errcheck // nothing was buffered

// call sends a request and hands over each message of the answer. whole is false if a list changed while it was made.
func (r *rtnl) call(kind, flags uint16, body []byte, each func([]byte)) (whole bool, err error) {
	r.seq++
	b := make([]byte, netlinkHeaderSize, netlinkHeaderSize+len(body))
	binary.NativeEndian.PutUint32(b, uint32(netlinkHeaderSize+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(b[8:], r.seq)
	if err := unix.Sendto(r.fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("ask the kernel: %w", err)
	}
	whole = true
	for {
		n, err := r.receive()
		if err != nil {
			return false, fmt.Errorf("read the kernel's answer: %w", err)
		}
		for m := range messages(r.buf[:n]) {
			if m.seq != r.seq {
				continue // of a request that was given up
			}
			whole = whole && m.flags&unix.NLM_F_DUMP_INTR == 0
			switch m.kind {
			case unix.NLMSG_DONE:
				return whole, nil
			case unix.NLMSG_ERROR:
				if len(m.body) < 4 {
					return false, errors.New("the kernel's answer is cut off")
				}
				if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
					return false, unix.Errno(-code)
				}
				return whole, nil
			}
			each(m.body)
			if flags&unix.NLM_F_DUMP == 0 {
				return whole, nil
			}
		}
	}
}

func (r *rtnl) receive() (int, error) {
	for {
		n, _, err := unix.Recvfrom(r.fd, r.buf, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// list is call for a list that is asked for again, some times, if it changed while it was made.
func (r *rtnl) list(kind uint16, body []byte, begin func(), each func([]byte)) (whole bool, err error) {
	for range dumpTries {
		begin()
		if whole, err = r.call(kind, unix.NLM_F_DUMP, body, each); whole || err != nil {
			break
		}
	}
	return whole, err
}

// message is one netlink message.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// messages iterates over the netlink messages in b, as far as they are whole.
func messages(b []byte) func(yield func(message) bool) {
	return func(yield func(message) bool) {
		for len(b) >= netlinkHeaderSize {
			size := int(binary.NativeEndian.Uint32(b))
			if size < netlinkHeaderSize || size > len(b) {
				return
			}
			m := message{
				kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
				seq: binary.NativeEndian.Uint32(b[8:]), body: b[netlinkHeaderSize:size],
			}
			if !yield(m) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// attributes iterates over the route attributes in b: type and value.
func attributes(b []byte) func(yield func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// attribute appends one to b.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
