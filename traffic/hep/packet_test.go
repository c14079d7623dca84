package hep

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const options = "OPTIONS sip:h SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

// chunk appends a chunk.
func chunk(b []byte, vendor, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, vendor)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(header+len(value)))
	return append(b, value...)
}

// packet makes a packet of chunks.
func packet(chunks []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte(magic), uint16(header+len(chunks)))
	return append(b, chunks...)
}

// chunks makes those of p, in the order in which Kamailio sends them.
func chunks(p Packet) (b []byte) {
	u16 := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	b = chunk(b, 0, 1, []byte{p.Family})
	b = chunk(b, 0, 2, []byte{byte(p.Proto)})
	kind := uint16(3)
	if p.Src.Addr().Is6() {
		kind = 5
	}
	b = chunk(b, 0, kind, p.Src.Addr().AsSlice())
	b = chunk(b, 0, kind+1, p.Dst.Addr().AsSlice())
	b = chunk(b, 0, 7, u16(p.Src.Port()))
	b = chunk(b, 0, 8, u16(p.Dst.Port()))
	b = chunk(b, 0, 9, u32(uint32(p.Time.Unix())))
	b = chunk(b, 0, 10, u32(uint32(p.Time.Nanosecond()/1000)))
	b = chunk(b, 0, 11, []byte{byte(p.Type)})
	b = chunk(b, 0, 12, u32(p.CaptureID))
	if p.AuthKey != nil {
		b = chunk(b, 0, 14, p.AuthKey)
	}
	return chunk(b, 0, 15, p.Payload)
}

var (
	v4 = Packet{
		Family: 2, Proto: UDP, Src: netip.MustParseAddrPort("192.0.2.1:5060"), Dst: netip.MustParseAddrPort("192.0.2.2:41022"),
		Time: time.Unix(1795276800, 123456000), Type: SIP, CaptureID: 2001, Payload: []byte(options),
	}
	v6 = Packet{
		Family: 10, Proto: TLS, Src: netip.MustParseAddrPort("[2001:db8::1]:5061"), Dst: netip.MustParseAddrPort("[2001:db8::2]:443"),
		Time: time.Unix(1, 0), Type: SIP, CaptureID: 1<<32 - 1, AuthKey: []byte("secret"), Payload: []byte(options),
	}
)

// What servers send is read, and what they add does not matter.
func TestParse(t *testing.T) {
	more := v4
	more.Payload = []byte("last")
	bare := Packet{Payload: []byte("x")}
	tests := []struct {
		name string
		in   []byte
		want Packet
	}{
		{"IPv4", packet(chunks(v4)), v4},
		{"IPv6", packet(chunks(v6)), v6},
		{"chunks of vendors and new ones", packet(chunk(chunk(chunk(chunks(v4), 3, 15, []byte("no")), 0, 17, []byte("id")), 0, 9999, nil)), v4},
		{"an odd size", packet(chunk(chunk(chunks(v4), 0, 3, []byte("abc")), 0, 12, []byte{1, 2})), v4},
		{"the last counts", packet(chunk(chunks(v4), 0, 15, []byte("last"))), more},
		{"padding", append(packet(chunks(v4)), "padding"...), v4},
		{"no address, no time", packet(chunk(nil, 0, 15, []byte("x"))), bare},
		{"nothing", packet(nil), Packet{}},
		{"IPv4 in IPv6", packet(chunk(chunk(nil, 0, 5, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01")), 0, 7, []byte{0x13, 0xc4})), Packet{Src: netip.MustParseAddrPort("192.0.2.1:5060")}},
		{"microseconds out of range", packet(chunk(chunk(nil, 0, 9, []byte{0, 0, 0, 1}), 0, 10, []byte{255, 255, 255, 255})), Packet{Time: time.Unix(1, 999999000)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := v6 // nothing of an earlier packet may stay
			if err := Parse(tt.in, &got); err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestParse_errors(t *testing.T) {
	whole := packet(chunks(v4))
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrNotHEP},
		{"magic alone", []byte("HEP3"), ErrNotHEP},
		{"SIP", []byte(options), ErrNotHEP},
		{"version 2", []byte("\x02\x10\x02\x11\x13\xc4\x13\xc4"), ErrNotHEP},
		{"cut off", whole[:len(whole)-1], ErrTruncated},
		{"length of nothing", []byte("HEP3\x00\x00"), ErrMalformed},
		{"length less than a header", []byte("HEP3\x00\x05xxxx"), ErrMalformed},
		{"half a chunk header", []byte("HEP3\x00\x09abc"), ErrTruncated},
		{"chunk of no length", packet([]byte{0, 0, 0, 15, 0, 0}), ErrMalformed},
		{"chunk less than a header", packet([]byte{0, 0, 0, 15, 0, 5}), ErrMalformed},
		{"chunk beyond the packet", packet([]byte{0, 0, 0, 15, 0, 7}), ErrTruncated},
		{"chunk of a vendor beyond the packet", packet([]byte{0, 9, 0, 15, 255, 255, 1}), ErrTruncated},
		{"compressed", packet(chunk(nil, 0, 16, []byte("x"))), ErrCompressed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p Packet
			if err := Parse(tt.in, &p); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestParse_allocatesNothing(t *testing.T) {
	in := packet(chunks(v6))
	var p Packet
	if got := testing.AllocsPerRun(100, func() {
		if err := Parse(in, &p); err != nil || len(p.Payload) == 0 {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

// No octets may crash the reader, nor may it hand out what is not in the packet; cut anywhere, a stream gives the same packets.
func FuzzHEP(f *testing.F) {
	f.Add(packet(chunks(v4)), uint8(1))
	f.Add(append(packet(chunks(v6)), packet(chunks(v4))...), uint8(7))
	f.Add(packet(chunk(nil, 3, 15, nil)), uint8(3))
	f.Add([]byte("HEP3\x00\x06HEP3\x00\x07xHEP3\x00\x05"), uint8(2))
	f.Add(packet([]byte{0, 0, 0, 15, 0, 7}), uint8(5))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		var p Packet
		before := bytes.Clone(in)
		if err := Parse(in, &p); err == nil {
			if p.Time.Nanosecond() > maxMicros*1000 || !bytes.Contains(in, p.Payload) || !bytes.Contains(in, p.AuthKey) || cap(p.Payload) > len(p.Payload) {
				t.Fatalf("got %+v", p)
			}
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the reader changed its input")
		}
		var one, cut Stream
		want, wantErr := collect(&one, in, len(in)+1)
		got, err := collect(&cut, in, int(size)+1)
		if got != want || !errors.Is(err, wantErr) {
			t.Fatalf("pieces of %d: %q, %v; in one: %q, %v", size, got, err, want, wantErr)
		}
	})
}

// collect feeds a stream in pieces of size octets and gives its packets, with a bar after each.
func collect(s *Stream, in []byte, size int) (out string, err error) {
	var b strings.Builder
	for len(in) > 0 && err == nil {
		n := min(size, len(in))
		err = s.Feed(in[:n], func(packet []byte) { b.Write(append(bytes.Clone(packet), '|')) })
		in = in[n:]
	}
	return b.String(), err
}

func BenchmarkParse(b *testing.B) {
	in := packet(chunks(v4))
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(in, &p); err != nil {
			b.Fatal(err)
		}
	}
}
