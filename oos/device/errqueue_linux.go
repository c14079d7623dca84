package device

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// failure is what the kernel tells of a datagram that was sent: an ICMP message, or why it could not leave after all.
type failure struct {
	errno   unix.Errno
	payload []byte // of the datagram, as far as the message quotes it
}

// failures reads the error queue of a socket.
type failures struct {
	hdr     unix.Msghdr
	vector  unix.Iovec
	octets  [1024]byte
	control [256]byte
}

// next gives the next failure. ok is false when there is none.
func (f *failures) next(fd int) (_ failure, ok bool) {
	f.vector.Base = &f.octets[0]
	f.vector.SetLen(len(f.octets))
	f.hdr = unix.Msghdr{Iov: &f.vector, Control: &f.control[0]}
	f.hdr.SetIovlen(1)
	f.hdr.SetControllen(len(f.control))
	for {
		n, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.hdr)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		switch {
		case e == unix.EINTR:
			continue
		case e != 0:
			return failure{}, false
		}
		return failure{f.errno(), f.octets[:n]}, true
	}
}

// errno finds the extended error in the control messages (ip(7), IP_RECVERR); 0 without one.
func (f *failures) errno() unix.Errno {
	rest := f.control[:min(int(f.hdr.Controllen), len(f.control))]
	for len(rest) >= unix.CmsgLen(0) {
		h, data, after, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return 0
		}
		v4 := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR
		v6 := h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(data) >= 4 {
			return unix.Errno(binary.NativeEndian.Uint32(data))
		}
		rest = after
	}
	return 0
}
