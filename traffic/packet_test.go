package traffic

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// ip makes an IPv4 or IPv6 packet. The octets between the IPv6 header and the transport's come as they are, first being their number.
func ip(src, dst netip.Addr, proto uint8, extensions, payload []byte) []byte {
	if src.Is4() {
		b := make([]byte, 20, 20+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		return append(b, payload...)
	}
	b := make([]byte, 40, 40+len(extensions)+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(extensions)+len(payload)))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(append(b, extensions...), payload...)
}

func udp(src, dst uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

func tag(b []byte, inner uint16) []byte {
	return append([]byte{0, 7, byte(inner >> 8), byte(inner)}, b...)
}

// Headers of IPv4 with options, IPv6 with extensions, tags of VLANs, and what is cut short (RFC 791, 8200, 4302, 6946, 802.1ad).
func TestPacket(t *testing.T) {
	a4, b4, a6, b6 := netip.MustParseAddr(there4), here, netip.MustParseAddr(there6), netip.MustParseAddr(here6)
	text := "hello"
	plain := ip(a4, b4, unix.IPPROTO_UDP, nil, udp(5060, 5061, text))
	options := append([]byte{0x46}, plain[1:20]...)
	options = append(append(options, 1, 1, 1, 0), plain[20:]...)
	binary.BigEndian.PutUint16(options[2:], uint16(len(options)))
	super := bytes.Clone(plain)
	super[2], super[3] = 0, 0
	six := func(first uint8, extensions ...byte) []byte {
		return ip(a6, b6, first, extensions, udp(5060, 5061, text))
	}
	jumbo := six(unix.IPPROTO_UDP)
	jumbo[4], jumbo[5] = 0, 0
	hop := []byte{unix.IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}
	nine := bytes.Repeat([]byte{unix.IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, 9)
	for name, c := range map[string]struct {
		protocol uint16
		b        []byte
		ok       bool
	}{
		"IPv4":                     {unix.ETH_P_IP, plain, true},
		"IPv4, trailing octets":    {unix.ETH_P_IP, append(bytes.Clone(plain), 1, 2, 3), true},
		"IPv4, options":            {unix.ETH_P_IP, options, true},
		"IPv4, super-packet":       {unix.ETH_P_IP, super, true},
		"IPv4, cut short":          {unix.ETH_P_IP, plain[:len(plain)-1], false},
		"IPv4, header cut short":   {unix.ETH_P_IP, plain[:19], false},
		"IPv4, no IPv4":            {unix.ETH_P_IP, six(unix.IPPROTO_UDP), false},
		"IPv4, ICMP":               {unix.ETH_P_IP, ip(a4, b4, unix.IPPROTO_ICMP, nil, make([]byte, 20)), false},
		"tagged":                   {unix.ETH_P_8021Q, tag(plain, unix.ETH_P_IP), true},
		"tagged twice":             {unix.ETH_P_8021AD, tag(tag(plain, unix.ETH_P_IP), unix.ETH_P_8021Q), true},
		"tagged thrice":            {unix.ETH_P_8021AD, tag(tag(tag(plain, unix.ETH_P_IP), unix.ETH_P_8021Q), unix.ETH_P_8021Q), false},
		"tagged, named otherwise":  {unix.ETH_P_IP, tag(plain, unix.ETH_P_IP), true},
		"tagged, cut short":        {unix.ETH_P_8021Q, []byte{0, 7, 8}, false},
		"tagged, IPv6":             {unix.ETH_P_8021Q, tag(six(unix.IPPROTO_UDP), unix.ETH_P_IPV6), true},
		"ARP":                      {unix.ETH_P_ARP, make([]byte, 28), false},
		"IPv6":                     {unix.ETH_P_IPV6, six(unix.IPPROTO_UDP), true},
		"IPv6, super-packet":       {unix.ETH_P_IPV6, jumbo, true},
		"IPv6, cut short":          {unix.ETH_P_IPV6, six(unix.IPPROTO_UDP)[:50], false},
		"IPv6, hop by hop":         {unix.ETH_P_IPV6, six(unix.IPPROTO_HOPOPTS, hop...), true},
		"IPv6, routing and more":   {unix.ETH_P_IPV6, six(unix.IPPROTO_ROUTING, append([]byte{unix.IPPROTO_DSTOPTS, 0, 0, 0, 0, 0, 0, 0}, hop...)...), true},
		"IPv6, authentication":     {unix.ETH_P_IPV6, six(unix.IPPROTO_AH, unix.IPPROTO_UDP, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0), true},
		"IPv6, atomic fragment":    {unix.ETH_P_IPV6, six(unix.IPPROTO_FRAGMENT, unix.IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 9), true},
		"IPv6, extension too long": {unix.ETH_P_IPV6, six(unix.IPPROTO_HOPOPTS, unix.IPPROTO_UDP, 200, 1, 4, 0, 0, 0, 0), false},
		"IPv6, too many":           {unix.ETH_P_IPV6, six(unix.IPPROTO_DSTOPTS, nine...), false},
		"IPv6, ESP":                {unix.ETH_P_IPV6, six(unix.IPPROTO_ESP), false},
	} {
		t.Run(name, func(t *testing.T) {
			var p packet
			ok := p.decode(c.protocol, c.b)
			if ok != c.ok {
				t.Fatalf("decode: got %v, want %v", ok, c.ok)
			}
			if !ok {
				return
			}
			src, dst, _ := p.ports()
			data, _ := p.datagram()
			if p.fragment || src != 5060 || dst != 5061 || string(data) != text || p.src.Is4() != p.dst.Is4() {
				t.Errorf("got %+v, %d to %d, %q", p, src, dst, data)
			}
		})
	}
}

// Any octets: no panic, whatever comes out lies within them, and reassembly stays within its bounds.
func FuzzPacket(f *testing.F) {
	a4, a6 := netip.MustParseAddr(there4), netip.MustParseAddr(there6)
	f.Add(uint16(unix.ETH_P_IP), ip(a4, here, unix.IPPROTO_UDP, nil, udp(5060, 5060, request("INVITE", "a", 1))))
	fragment := ip(a4, here, unix.IPPROTO_UDP, nil, udp(5060, 5060, request("INVITE", "a", 1)))
	fragment[6] = 0x20
	f.Add(uint16(unix.ETH_P_IP), fragment)
	f.Add(uint16(unix.ETH_P_IPV6), ip(a6, netip.MustParseAddr(here6), unix.IPPROTO_FRAGMENT, []byte{17, 0, 0, 1, 0, 0, 0, 9}, udp(5060, 5060, "SIP/2.0 200\r\n\r\n")))
	f.Add(uint16(unix.ETH_P_8021Q), tag(ip(a4, here, unix.IPPROTO_TCP, nil, make([]byte, 30)), unix.ETH_P_IP))
	m, err := New(standardForFuzz())
	if err != nil {
		f.Fatal(err)
	}
	c := newCapture(wire, filter{}, m.take, m.missed)
	f.Fuzz(func(t *testing.T, protocol uint16, b []byte) {
		r := newReassembler()
		m.fragments, m.answers = newReassembler(), &answers{patience: sec, table: newRequests(16)}
		m.tracker = newTracker(func(flowKey) reader { return newStream(m.observer, m.meta) })
		var p packet
		if p.decode(protocol, b) {
			if p.fragment {
				if r.add(&p, 0) && len(p.payload) > maxDatagram {
					t.Fatalf("a datagram of %d octets", len(p.payload))
				}
			} else if len(p.payload) > len(b) {
				t.Fatalf("%d octets out of %d", len(p.payload), len(b))
			}
			p.ports()
			if data, ok := p.datagram(); ok && len(data) > len(p.payload)-8 {
				t.Fatalf("a datagram of %d octets out of %d", len(data), len(p.payload))
			}
			if s, ok := p.segment(); ok && len(s.data) > len(p.payload)-20 {
				t.Fatalf("a segment of %d octets out of %d", len(s.data), len(p.payload))
			}
		}
		for _, direction := range []uint8{unix.PACKET_HOST, unix.PACKET_OUTGOING} {
			m.take(c, &frame{data: b, protocol: protocol, direction: direction}, sec)
		}
		if r.bytes > maxFragmentBytes || m.tracker.kept > maxPartial || m.tracker.early > maxEarly {
			t.Fatal("bounds don't hold")
		}
	})
}

func standardForFuzz() Options {
	o := DefaultOptions()
	o.Interfaces, o.Addresses = []string{wire}, []netip.Addr{here, netip.MustParseAddr(here6)}
	return o
}
