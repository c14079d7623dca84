package raftstore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawAddr is an address as the kernel takes it, made once.
type rawAddr struct {
	at   unsafe.Pointer
	size uintptr
}

// rawSend sends b and never waits. It is a raw system call: one that Go's scheduler knows of wakes its monitor thread, which costs more
// than the call, hundreds of times a second.
func rawSend(fd uintptr, b []byte, to rawAddr) error {
	_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(to.at), to.size)
	if e != 0 {
		return e
	}
	return nil
}

// rawReceive gives the length of the datagram that it put into b, or unix.EAGAIN if there is none.
func rawReceive(fd uintptr, b []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

func rawInet4(addr [4]byte, port uint16) rawAddr {
	a := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr}
	putPort(&a.Port, port)
	return rawAddr{unsafe.Pointer(a), unix.SizeofSockaddrInet4}
}

func rawInet6(addr [16]byte, port uint16, zone uint32) rawAddr {
	a := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr, Scope_id: zone}
	putPort(&a.Port, port)
	return rawAddr{unsafe.Pointer(a), unix.SizeofSockaddrInet6}
}

// putPort writes a port in network byte order, whatever the host's.
func putPort(to *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(to))
	b[0], b[1] = byte(port>>8), byte(port)
}
