package vip

import (
	"encoding/binary"
	"net/netip"
)

// claim says that somebody uses a service address as his own.
type claim struct {
	address netip.Addr
	mac     MAC
	how     string // for people: "ARP", "ND"
}

// ICMPv6 types and options of neighbour discovery (RFC 4861).
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	sourceLinkAddress      = 1
	targetLinkAddress      = 2
)

// Offsets in an Ethernet frame.
const (
	atSource   = 6  // Ethernet source
	atType     = 12 // Ethernet type
	atPayload  = 14
	atARPMAC   = 22 // ARP: sender hardware address
	atARPAddr  = 28 // ARP: sender protocol address
	arpEnd     = 42
	atNext     = 20 // IPv6: next header
	atHops     = 21 // IPv6: hop limit
	atIPv6Addr = 22 // IPv6: source
	atIPv6To   = 38
	atICMPv6   = 54
	atTarget   = 62 // ND: target
	atOptions  = 78 // ND: options
)

// arpClaim finds the claim in an ARP frame: its sender address, in whatever packet (RFC 5227 section 2.4). A probe has none.
func arpClaim(f []byte) (claim, bool) {
	if len(f) < arpEnd || binary.BigEndian.Uint16(f[atType:]) != etherARP || string(f[atPayload:atPayload+6]) != "\x00\x01\x08\x00\x06\x04" {
		return claim{}, false
	}
	c := claim{netip.AddrFrom4([4]byte(f[atARPAddr:])), MAC(f[atARPMAC:]), "ARP"}
	return c, !c.address.IsUnspecified() && unicast(c.mac)
}

// ndClaim finds the claim in a frame of neighbour discovery: the target of an advertisement, or the source of a solicitation, with the
// link-layer address that its option gives, else the frame's. It takes only what a host would take (RFC 4861 sections 7.1.1 and 7.1.2).
func ndClaim(f []byte) (claim, bool) {
	if len(f) < atOptions || binary.BigEndian.Uint16(f[atType:]) != etherIPv6 || f[atPayload]>>4 != 6 || f[atNext] != 58 || f[atHops] != 255 {
		return claim{}, false
	}
	end := atICMPv6 + int(binary.BigEndian.Uint16(f[atPayload+4:]))
	if end > len(f) || end < atOptions || f[atICMPv6+1] != 0 || icmpv6Sum(f[atIPv6Addr:atICMPv6], f[atICMPv6:end]) != 0 {
		return claim{}, false
	}
	var at int
	var option byte
	switch f[atICMPv6] {
	case neighbourAdvertisement:
		at, option = atTarget, targetLinkAddress
	case neighbourSolicitation:
		at, option = atIPv6Addr, sourceLinkAddress
	default:
		return claim{}, false
	}
	mac, ok := linkOption(f[atOptions:end], option)
	if mac.IsZero() {
		mac = MAC(f[atSource:])
	}
	c := claim{netip.AddrFrom16([16]byte(f[at:])), mac, "ND"}
	return c, ok && !c.address.IsUnspecified() && !c.address.IsMulticast() && unicast(mac)
}

// linkOption finds the first link-layer address option of that type; the zero MAC if there is none, false if the options are malformed.
func linkOption(b []byte, kind byte) (mac MAC, ok bool) {
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || int(b[1])*8 > len(b) {
			return MAC{}, false
		}
		if b[0] == kind && b[1] == 1 && mac.IsZero() {
			mac = MAC(b[2:])
		}
		b = b[int(b[1])*8:]
	}
	return mac, true
}

// unicast reports whether one host can have the MAC.
func unicast(m MAC) bool { return !m.IsZero() && m[0]&1 == 0 }
