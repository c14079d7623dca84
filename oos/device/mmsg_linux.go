package device

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// atOnce is how many datagrams go in one system call.
const atOnce = 64

// longestDatagram is what is read of one. What we need stands in front.
const longestDatagram = 4096

// place is an address and port as the kernel takes it.
type place struct {
	octets [unix.SizeofSockaddrInet6]byte
	size   uint32
}

func newPlace(a netip.AddrPort, zone uint32) (p place) {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	if ip := a.Addr().Unmap(); ip.Is4() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.octets))
		sa.Family, sa.Addr, p.size = unix.AF_INET, ip.As4(), unix.SizeofSockaddrInet4
	} else {
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&p.octets))
		sa.Family, sa.Addr, sa.Scope_id, p.size = unix.AF_INET6, ip.As16(), zone, unix.SizeofSockaddrInet6
	}
	p.octets[2], p.octets[3] = port[0], port[1]
	return p
}

// addr is the address without the port.
func (p *place) addr() netip.Addr {
	switch (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.octets)).Family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(p.octets[4:8]))
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(p.octets[8:24])).Unmap()
	}
	return netip.Addr{}
}

// header is struct mmsghdr.
type header struct {
	unix.Msghdr
	n uint32
}

// batch is room for some datagrams and their addresses.
type batch struct {
	headers [atOnce]header
	vectors [atOnce]unix.Iovec
	places  [atOnce]place
	octets  [atOnce][]byte
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.headers {
		b.octets[i] = make([]byte, longestDatagram)
		h := &b.headers[i]
		h.Name, h.Iov = &b.places[i].octets[0], &b.vectors[i]
		h.SetIovlen(1)
		b.vectors[i].Base = &b.octets[i][0]
	}
	return b
}

// receive reads what has arrived, up to atOnce datagrams. The error is an unix.Errno.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.headers {
		b.headers[i].Namelen = unix.SizeofSockaddrInet6
		b.vectors[i].SetLen(longestDatagram)
	}
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers)), atOnce, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// datagram gives what receive read.
func (b *batch) datagram(i int) ([]byte, netip.Addr) {
	return b.octets[i][:b.headers[i].n], b.places[i].addr()
}

// put makes b the i-th datagram to send.
func (b *batch) put(i int, datagram []byte, to place) {
	b.octets[i] = datagram
	b.vectors[i].Base = unsafe.SliceData(datagram)
	b.vectors[i].SetLen(len(datagram))
	b.places[i] = to
	b.headers[i].Namelen = to.size
}

// send sends the datagrams from first to before end, and gives how many it sent: less than all with an error only if none could be.
func (b *batch) send(fd, first, end int) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[first])), uintptr(end-first),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
