package traffic

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// packet is an IP packet without its headers. payload belongs to whoever delivered it.
type packet struct {
	src, dst netip.Addr
	proto    uint8 // of payload: TCP or UDP, any in a fragment other than the first
	payload  []byte

	fragment bool
	id       uint32
	offset   int // of payload in the datagram's
	more     bool
}

const (
	tagLength     = 4
	maxTags       = 2
	maxExtensions = 8 // headers between the IPv6 header and the transport's
)

// decode reads the IP headers of b, which starts with the header that the EtherType protocol names. Packets that TCP and UDP have no
// part in are refused, truncated ones too. Checksums are not looked at: the interface often fills them in later.
func (p *packet) decode(protocol uint16, b []byte) bool {
	for range maxTags {
		if protocol != unix.ETH_P_8021Q && protocol != unix.ETH_P_8021AD {
			break
		}
		if len(b) < tagLength {
			return false
		}
		protocol, b = binary.BigEndian.Uint16(b[2:]), b[tagLength:]
	}
	if p.decodeIP(protocol, b) {
		return true
	}
	// Newer kernels name the innermost protocol also of a packet that still begins with a tag.
	return len(b) > tagLength && binary.BigEndian.Uint16(b[2:]) == protocol && p.decodeIP(protocol, b[tagLength:])
}

func (p *packet) decodeIP(protocol uint16, b []byte) bool {
	switch protocol {
	case unix.ETH_P_IP:
		return p.decode4(b)
	case unix.ETH_P_IPV6:
		return p.decode6(b)
	}
	return false
}

// decode4 reads an IPv4 header (RFC 791 3.1). A total length of 0 is that of a super-packet beyond 64 KB, and that of the capture.
func (p *packet) decode4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	head, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b)
	}
	if head < 20 || total < head || len(b) < total {
		return false
	}
	flags := binary.BigEndian.Uint16(b[6:])
	*p = packet{
		src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		proto: b[9], payload: b[head:total],
		id: uint32(binary.BigEndian.Uint16(b[4:])), offset: int(flags&0x1fff) * 8, more: flags&0x2000 != 0,
	}
	p.fragment = p.offset > 0 || p.more
	return p.proto == unix.IPPROTO_UDP || p.proto == unix.IPPROTO_TCP
}

// decode6 reads an IPv6 header and those behind it up to the transport's or a fragment's (RFC 8200 3, 4).
func (p *packet) decode6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 { // a super-packet beyond 64 KB
		length = len(b) - 40
	}
	if len(b) < 40+length {
		return false
	}
	*p = packet{
		src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		proto: b[6], payload: b[40 : 40+length],
	}
	return p.skipExtensions()
}

// skipExtensions goes to the transport's header, or to the data of a fragment.
func (p *packet) skipExtensions() bool {
	for range maxExtensions {
		switch p.proto {
		case unix.IPPROTO_UDP, unix.IPPROTO_TCP:
			return true
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS, unix.IPPROTO_MH, unix.IPPROTO_AH, unix.IPPROTO_FRAGMENT:
		default:
			return false
		}
		if len(p.payload) < 8 {
			return false
		}
		length := (int(p.payload[1]) + 1) * 8
		switch p.proto {
		case unix.IPPROTO_AH: // RFC 4302 2.2
			length = (int(p.payload[1]) + 2) * 4
		case unix.IPPROTO_FRAGMENT:
			if p.fragment {
				return false // a fragment of a fragment
			}
			return p.decodeFragment()
		}
		if len(p.payload) < length {
			return false
		}
		p.proto, p.payload = p.payload[0], p.payload[length:]
	}
	return false
}

// decodeFragment reads a fragment header (RFC 8200 4.5). One that is all of the datagram makes no fragment (RFC 6946).
func (p *packet) decodeFragment() bool {
	b := p.payload
	at := binary.BigEndian.Uint16(b[2:])
	p.id, p.offset, p.more = binary.BigEndian.Uint32(b[4:]), int(at&^7), at&1 != 0
	p.proto, p.payload = b[0], b[8:]
	p.fragment = p.offset > 0 || p.more
	if !p.fragment {
		return p.skipExtensions()
	}
	return true
}

// ports gives the ports of a TCP or UDP packet.
func (p *packet) ports() (src, dst uint16, ok bool) {
	if len(p.payload) < 8 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:]), true
}

// datagram gives what a UDP packet carries (RFC 768). A length of 0 is that of a jumbogram (RFC 2675 4).
func (p *packet) datagram() ([]byte, bool) {
	if len(p.payload) < 8 {
		return nil, false
	}
	length := int(binary.BigEndian.Uint16(p.payload[4:]))
	if length == 0 {
		length = len(p.payload)
	}
	if length < 8 || length > len(p.payload) {
		return nil, false
	}
	return p.payload[8:length], true
}

// segment is a TCP segment (RFC 9293 3.1).
type segment struct {
	seq           uint32
	syn, fin, rst bool
	data          []byte
}

func (p *packet) segment() (s segment, ok bool) {
	b := p.payload
	if len(b) < 20 {
		return s, false
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > len(b) {
		return s, false
	}
	flags := b[13]
	return segment{
		seq: binary.BigEndian.Uint32(b[4:]), fin: flags&1 != 0, syn: flags&2 != 0, rst: flags&4 != 0,
		data: b[head:],
	}, true
}
