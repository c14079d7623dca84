package vip

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

func rawInet4(addr [4]byte) rawAddr {
	return rawAddr{unsafe.Pointer(&unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr}), unix.SizeofSockaddrInet4}
}

func rawInet6(addr [16]byte) rawAddr {
	return rawAddr{unsafe.Pointer(&unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr}), unix.SizeofSockaddrInet6}
}

func rawLink(protocol uint16, link int) rawAddr {
	a := &unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: protocol, Ifindex: int32(link), Halen: 6}
	return rawAddr{unsafe.Pointer(a), unix.SizeofSockaddrLinklayer}
}
