package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// The observer's frames. It looks like guises different stations, one after the other, none of which is a host: members answer it like
// anybody, no kernel takes its traffic for its own, and the station that an answer is addressed to tells which look it belongs to, as long
// as it is not later than guises looks.
const guises = 64

// guise is one of the stations that the observer plays.
type guise byte

func guiseOf(look uint64) guise { return guise(look % guises) }

func (g guise) mac() net.HardwareAddr { return net.HardwareAddr{0x02, 0x77, 2, 0, 1, 64 + byte(g)} }
func (g guise) addr() netip.Addr      { return netip.AddrFrom4([4]byte{10, 77, 2, 64 + byte(g)}) }
func (g guise) addr6() netip.Addr {
	a := netip.MustParseAddr("fd77:2::40").As16()
	a[15] += byte(g)
	return netip.AddrFrom16(a)
}

// guiseByMAC finds the station that a frame is addressed to.
func guiseByMAC(mac []byte) (guise, bool) {
	for g := range guise(guises) {
		if string(g.mac()) == string(mac) {
			return g, true
		}
	}
	return 0, false
}

const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	arpLen      = 42
	solicitLen  = 14 + 40 + 24 + 8
	icmpv6      = 58
	ndSolicit   = 135
	ndAdvertise = 136
)

// arpRequest asks one station, by its MAC address, whether it has an IPv4 address (RFC 826).
func arpRequest(to net.HardwareAddr, from guise, target netip.Addr) []byte {
	b := make([]byte, arpLen)
	copy(b[0:], to)
	copy(b[6:], from.mac())
	copy(b[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1})
	copy(b[22:], from.mac())
	sender, wanted := from.addr().As4(), target.As4()
	copy(b[28:], sender[:])
	copy(b[38:], wanted[:])
	return b
}

// solicitation asks one station, by its MAC address, whether it has an IPv6 address (RFC 4861 4.3, in its unicast form).
func solicitation(to net.HardwareAddr, from guise, target netip.Addr) []byte {
	b := make([]byte, solicitLen)
	copy(b[0:], to)
	copy(b[6:], from.mac())
	binary.BigEndian.PutUint16(b[12:], etherIPv6)
	ip := b[14:]
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], 24+8)
	ip[6], ip[7] = icmpv6, 255
	source, wanted := from.addr6().As16(), target.As16()
	copy(ip[8:], source[:])
	copy(ip[24:], wanted[:])
	nd := ip[40:]
	nd[0] = ndSolicit
	copy(nd[8:], wanted[:])
	nd[24], nd[25] = 1, 1 // source link-layer address
	copy(nd[26:], from.mac())
	binary.BigEndian.PutUint16(nd[2:], checksum6(ip[8:40], nd))
	return b
}

// checksum6 is the ICMPv6 checksum over the pseudo header (RFC 8200 8.1) and the message, whose own field is still zero.
func checksum6(addresses, message []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	add(addresses)
	add(message)
	sum += uint32(len(message)) + icmpv6
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// claim is somebody's answer "I have this address".
type claim struct {
	from net.HardwareAddr
	to   guise
	six  bool
}

// parseClaim reads an ARP reply or a neighbour advertisement for a service address that is addressed to the observer.
func parseClaim(b []byte) (claim, bool) {
	if len(b) < arpLen {
		return claim{}, false
	}
	to, ok := guiseByMAC(b[:6])
	c := claim{from: net.HardwareAddr(b[6:12]), to: to}
	if !ok {
		return claim{}, false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherARP:
		sender, _ := netip.AddrFromSlice(b[28:32])
		return c, binary.BigEndian.Uint16(b[20:]) == 2 && sender == ServiceAddress
	case etherIPv6:
		if len(b) < 14+40+24 || b[14+6] != icmpv6 || b[14+40] != ndAdvertise {
			return claim{}, false
		}
		target, _ := netip.AddrFromSlice(b[14+40+8 : 14+40+24])
		c.six = true
		return c, target == ServiceAddress6
	}
	return claim{}, false
}
