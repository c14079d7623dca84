package nic

import (
	"encoding/binary"
	"net/netip"
)

// question is one request for a gateway's hardware address.
type question struct {
	monitor int // by its place
	link    link
	gateway netip.Addr
	from    netip.Addr
	to      [6]byte // broadcast, a multicast address or the gateway's last known one
}

// answer is a packet that proves that a monitor's gateway is there, and at which hardware address.
type answer struct {
	monitor int
	mac     [6]byte
}

// Ethernet types of the packets below, and the numbers of their protocols.
const (
	etherARP              = 0x0806
	etherIPv6             = 0x86dd
	protocolICMPv6        = 58
	neighbourSolicitation = 135
	neighbourAdvert       = 136
	icmpv6HopLimit        = 255 // RFC 4861 §7.1: others were forwarded and are not to be believed
	ipv6HeaderSize        = 40
	arpSize               = 28
)

// everywhere gives the hardware address that a request for a gateway goes to when its own isn't known: broadcast, for IPv6 that of the
// solicited-node multicast address (RFC 2464 §7, RFC 4291 §2.7.1).
func everywhere(gateway netip.Addr) [6]byte {
	if gateway.Is4() {
		return [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	a := gateway.As16()
	return [6]byte{0x33, 0x33, 0xff, a[13], a[14], a[15]}
}

// request gives the packet of a question, without its Ethernet header: an ARP request (RFC 826) or a neighbour solicitation
// (RFC 4861 §4.3), which goes to the gateway's own address if its hardware address is known.
func request(q question) []byte {
	if q.gateway.Is4() {
		return arpRequest(q)
	}
	return solicitation(q)
}

func arpRequest(q question) []byte {
	from, target := q.from.As4(), q.gateway.As4()
	b := make([]byte, 0, arpSize)
	b = append(b, 0, 1, 0x08, 0x00, 6, 4, 0, 1) // Ethernet, IPv4, lengths of their addresses, request
	b = append(b, q.link.mac[:]...)
	b = append(b, from[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target[:]...)
}

func solicitation(q question) []byte {
	const size = 4 + 4 + 16 + 8 // ICMPv6 header, reserved, target, option
	from, target := q.from.As16(), q.gateway.As16()
	to := target
	if q.to == everywhere(q.gateway) {
		to = [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: target[13], 14: target[14], 15: target[15]}
	}
	b := make([]byte, 0, ipv6HeaderSize+size)
	b = append(b, 0x60, 0, 0, 0, 0, size, protocolICMPv6, icmpv6HopLimit)
	b = append(b, from[:]...)
	b = append(b, to[:]...)
	b = append(b, neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0) // checksum below
	b = append(b, target[:]...)
	b = append(b, 1, 1) // source link-layer address, in units of 8 octets
	b = append(b, q.link.mac[:]...)
	binary.BigEndian.PutUint16(b[ipv6HeaderSize+2:], checksum(b[8:ipv6HeaderSize], b[ipv6HeaderSize:]))
	return b
}

// checksum is that of an ICMPv6 message over the pseudo header (RFC 8200 §8.1); addresses holds source and destination.
func checksum(addresses, message []byte) uint16 {
	sum := uint32(len(message)) + protocolICMPv6
	for _, part := range [][]byte{addresses, message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// proves reports whether a packet, without its Ethernet header, was sent by the gateway: an ARP packet of its of any kind, or a
// neighbour advertisement for its address. mac is the hardware address that it gives; sender is that of the Ethernet header.
func proves(gateway netip.Addr, b []byte, sender [6]byte) (mac [6]byte, yes bool) {
	if gateway.Is4() {
		if len(b) < arpSize || [6]byte(b) != [6]byte{0, 1, 0x08, 0x00, 6, 4} || [4]byte(b[14:]) != gateway.As4() {
			return mac, false
		}
		return [6]byte(b[8:]), true
	}
	const fixed = 4 + 4 + 16 // ICMPv6 header, flags, target
	if len(b) < ipv6HeaderSize+fixed || b[0]>>4 != 6 || b[6] != protocolICMPv6 || b[7] != icmpv6HopLimit {
		return mac, false
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < fixed || size > len(b)-ipv6HeaderSize {
		return mac, false
	}
	body := b[ipv6HeaderSize : ipv6HeaderSize+size]
	if body[0] != neighbourAdvert || body[1] != 0 || [16]byte(body[8:]) != gateway.As16() || checksum(b[8:ipv6HeaderSize], body) != 0 {
		return mac, false
	}
	for o := body[fixed:]; len(o) >= 8 && o[1] != 0 && 8*int(o[1]) <= len(o); o = o[8*int(o[1]):] {
		if o[0] == 2 && o[1] == 1 { // target link-layer address
			return [6]byte(o[2:]), true
		}
	}
	return sender, true
}
