package raw

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr is an address as the kernel takes it, made once.
type Addr struct {
	at   unsafe.Pointer
	size uintptr
}

// IsValid reports whether a is an address at all. A socket that is connected is sent to without one.
func (a Addr) IsValid() bool { return a.at != nil }

// Inet4 is an IPv4 address and port.
func Inet4(addr [4]byte, port uint16) Addr {
	a := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr}
	putPort(&a.Port, port)
	return Addr{unsafe.Pointer(a), unix.SizeofSockaddrInet4}
}

// Inet6 is an IPv6 address, port and the index of the interface that its zone names, or 0.
func Inet6(addr [16]byte, port uint16, zone uint32) Addr {
	a := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr, Scope_id: zone}
	putPort(&a.Port, port)
	return Addr{unsafe.Pointer(a), unix.SizeofSockaddrInet6}
}

// Link is the link of that index; protocol is in network byte order.
func Link(protocol uint16, index int) Addr {
	a := &unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: protocol, Ifindex: int32(index), Halen: 6}
	return Addr{unsafe.Pointer(a), unix.SizeofSockaddrLinklayer}
}

// putPort writes a port in network byte order, whatever the host's.
func putPort(to *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(to))
	b[0], b[1] = byte(port>>8), byte(port)
}

// Send sends b and never waits. The error is an unix.Errno.
func Send(fd int, b []byte, to Addr) error {
	_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(to.at), to.size)
	if e != 0 {
		return e
	}
	return nil
}

// Receive gives the length of the datagram that it put into b, or unix.EAGAIN if there is none.
func Receive(fd int, b []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// Mark sets the mark of what is sent from a socket. The error is an unix.Errno.
func Mark(fd int, mark uint32) error {
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MARK, uintptr(unsafe.Pointer(&mark)), unsafe.Sizeof(mark), 0)
	if e != 0 {
		return e
	}
	return nil
}

// Clock is CLOCK_MONOTONIC_RAW: the crystal's own rate. CLOCK_MONOTONIC may be slewed by up to 8 % by time synchronisation, which is
// more than a lease allows for.
func Clock() time.Duration {
	var ts unix.Timespec
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC_RAW, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic("CLOCK_MONOTONIC_RAW: " + e.Error()) // there since Linux 2.6.28
	}
	return time.Duration(ts.Nano())
}
