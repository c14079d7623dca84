package vip

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Ethernet types of the frames below.
const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// announcement gives the Ethernet frames that tell every neighbour that addr is at mac: for IPv4 a gratuitous ARP in request and in
// reply form (RFC 5227 §3), for IPv6 an unsolicited neighbour advertisement (RFC 4861 §7.2.6).
//
// Linux always believes the request form; some stacks want the reply. The reply repeats mac as its target hardware address, because
// Linux takes a reply with any other for an ordinary one and ignores it while the neighbour entry is younger than a second.
func announcement(addr netip.Addr, mac net.HardwareAddr) [][]byte {
	if addr.Is4() {
		return [][]byte{
			arpFrame(1, addr, mac, make(net.HardwareAddr, 6)),
			arpFrame(2, addr, mac, mac),
		}
	}
	return [][]byte{advertisement(addr, mac)}
}

// directed gives the frames that tell one neighbour that addr is at mac: those of announcement, sent to its MAC alone. to is its address;
// an advertisement for a neighbour whose IPv6 address isn't known goes to all nodes as far as IPv6 is concerned (RFC 6085).
func directed(addr netip.Addr, mac net.HardwareAddr, to netip.Addr, toMAC MAC) [][]byte {
	frames := announcement(addr, mac)
	for _, f := range frames {
		copy(f, toMAC[:])
		if addr.Is6() && to.Is6() && !to.Is4In6() {
			ip := to.As16()
			copy(f[14+24:], ip[:])
			message := f[14+40:]
			clear(message[2:4])
			binary.BigEndian.PutUint16(message[2:], icmpv6Sum(f[14+8:14+40], message))
		}
	}
	return frames
}

// arpFrame builds an ARP packet (RFC 826) with addr as sender and target protocol address, to the broadcast address.
func arpFrame(operation uint16, addr netip.Addr, mac, target net.HardwareAddr) []byte {
	ip := addr.As4()
	b := make([]byte, 0, 42)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, etherARP)
	b = append(b, 0, 1, 0x08, 0x00, 6, 4) // Ethernet, IPv4, lengths of their addresses
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(b, mac...)
	b = append(b, ip[:]...)
	b = append(b, target...)
	return append(b, ip[:]...)
}

// advertisement builds an unsolicited neighbour advertisement for addr from addr to all nodes (ff02::1), with the override flag and
// the target link-layer address option.
func advertisement(addr netip.Addr, mac net.HardwareAddr) []byte {
	const size = 4 + 4 + 16 + 8 // ICMPv6 header, flags, target, option
	ip := addr.As16()
	all := netip.IPv6LinkLocalAllNodes().As16()
	b := make([]byte, 0, 14+40+size)
	b = append(b, 0x33, 0x33, 0, 0, 0, 1)
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, etherIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, size, 58, 255) // version, payload length, ICMPv6, hop limit as RFC 4861 §7.1.2 demands
	b = append(b, ip[:]...)
	b = append(b, all[:]...)
	b = append(b, 136, 0, 0, 0, 0x20, 0, 0, 0) // neighbour advertisement, checksum below, override
	b = append(b, ip[:]...)
	b = append(b, 2, 1)
	b = append(b, mac...)
	binary.BigEndian.PutUint16(b[14+40+2:], icmpv6Sum(b[14+8:14+40], b[14+40:]))
	return b
}

// icmpv6Sum is the checksum of an ICMPv6 message over the pseudo header (RFC 8200 §8.1); addresses holds source and destination.
func icmpv6Sum(addresses, message []byte) uint16 {
	sum := uint32(len(message)) + 58
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
