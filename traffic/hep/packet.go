package hep

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// What Parse finds instead of a packet.
var (
	ErrNotHEP     = errors.New("no HEP3 packet")
	ErrTruncated  = errors.New("HEP packet cut off")   // also a chunk that is longer than its packet
	ErrMalformed  = errors.New("malformed HEP length") // of less than a header
	ErrCompressed = errors.New("compressed HEP payload")
)

// Proto is the transport of the message, an IP protocol number.
type Proto uint8

// The transports that SIP servers report.
const (
	TCP  Proto = 6
	UDP  Proto = 17
	TLS  Proto = 22 // XNS IDP, which Kamailio writes for TLS, WS and WSS
	SCTP Proto = 132
)

// Type is the protocol of the payload (chunk 11).
type Type uint8

// SIP is the type of packets with a SIP message; there are also RTCP (5), logs (100) and many more.
const SIP Type = 1

// Packet is one message that a server received or sent.
type Packet struct {
	Family    uint8 // of the sender's AF_: 2 is IPv4, IPv6 is 10 on Linux and another number elsewhere
	Proto     Proto
	Src, Dst  netip.AddrPort // not valid if the packet has no address
	Time      time.Time      // zero if the packet has none
	Type      Type           // 0 if the packet has none
	CaptureID uint32         // of the server that sends HEP
	AuthKey   []byte         // nil if the packet has none
	Payload   []byte         // nil if the packet has none
}

const (
	magic      = "HEP3"
	header     = 6 // of a packet: magic, length; of a chunk: vendor, type, length
	maxMicros  = 999_999
	compressed = 16
	ipv4, ipv6 = 4, 16
	anySize    = -1
)

// sizes has the length of what each chunk carries, 0 for chunks that are not read.
var sizes = [compressed + 1]int{
	1: 1, 2: 1, 3: ipv4, 4: ipv4, 5: ipv6, 6: ipv6, 7: 2, 8: 2, 9: 4, 10: 4, 11: 1, 12: 4, 14: anySize, 15: anySize, compressed: anySize,
}

// Parse reads the packet that b, a datagram or what Stream emits, begins with. Chunks of vendors, unknown ones and those of
// another size than theirs are skipped; of several of the same type the last counts. The errors are ErrNotHEP, ErrTruncated, ErrMalformed and ErrCompressed; p is then of no use.
// A packet without a payload is none of them.
func Parse(b []byte, p *Packet) error {
	*p = Packet{}
	if len(b) < header || string(b[:len(magic)]) != magic {
		return ErrNotHEP
	}
	length := int(binary.BigEndian.Uint16(b[len(magic):]))
	if length > len(b) {
		return ErrTruncated
	}
	if length < header {
		return ErrMalformed
	}
	var f fields
	for b = b[header:length]; len(b) > 0; {
		if len(b) < header {
			return ErrTruncated
		}
		vendor, kind, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
		if n < header {
			return ErrMalformed
		}
		if n > len(b) {
			return ErrTruncated
		}
		value := b[header:n:n]
		b = b[n:]
		if vendor != 0 || int(kind) >= len(sizes) || (sizes[kind] != anySize && sizes[kind] != len(value)) || sizes[kind] == 0 {
			continue
		}
		if kind == compressed {
			return ErrCompressed
		}
		f.take(kind, value, p)
	}
	f.finish(p)
	return nil
}

// fields are those of a packet that several chunks make.
type fields struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	seconds, micros  uint32
	timed            bool
}

func (f *fields) take(kind uint16, v []byte, p *Packet) {
	switch kind {
	case 1:
		p.Family = v[0]
	case 2:
		p.Proto = Proto(v[0])
	case 3, 5:
		f.src, _ = netip.AddrFromSlice(v)
	case 4, 6:
		f.dst, _ = netip.AddrFromSlice(v)
	case 7:
		f.srcPort = binary.BigEndian.Uint16(v)
	case 8:
		f.dstPort = binary.BigEndian.Uint16(v)
	case 9:
		f.seconds, f.timed = binary.BigEndian.Uint32(v), true
	case 10:
		f.micros = min(binary.BigEndian.Uint32(v), maxMicros)
	case 11:
		p.Type = Type(v[0])
	case 12:
		p.CaptureID = binary.BigEndian.Uint32(v)
	case 14:
		p.AuthKey = v
	case 15:
		p.Payload = v
	}
}

func (f *fields) finish(p *Packet) {
	if f.src.IsValid() {
		p.Src = netip.AddrPortFrom(f.src.Unmap(), f.srcPort)
	}
	if f.dst.IsValid() {
		p.Dst = netip.AddrPortFrom(f.dst.Unmap(), f.dstPort)
	}
	if f.timed {
		p.Time = time.Unix(int64(f.seconds), int64(f.micros)*int64(time.Microsecond))
	}
}
