package sip

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// record makes a TLS record; what is in it looks like no other.
func record(kind byte, size int) []byte {
	b := []byte{kind, 3, 3, byte(size >> 8), byte(size)}
	for i := range size {
		b = append(b, 0x80|byte(i*7))
	}
	return b
}

// session is one direction of a connection with its handshake.
func session(payload ...int) (b []byte) {
	b = append(b, record(22, 512)...)
	b = append(b, record(20, 1)...)
	b = append(b, record(22, 40)...)
	for _, size := range payload {
		b = append(b, record(23, size)...)
	}
	return append(b, record(21, 26)...)
}

func TestTLSRecords(t *testing.T) {
	whole := session(400, 0, 21, 500, 16384)
	tests := []struct {
		name  string
		in    []byte
		least uint16
		want  int
	}{
		{"nothing", nil, 0, 0},
		{"a handshake", session(), 0, 0},
		{"a connection", whole, 0, 4},
		{"without keep-alives", whole, TLSMessage, 3},
		{"exactly the least", session(TLSMessage, TLSMessage-1), TLSMessage, 1},
		{"the last octet is missing", bytes.TrimSuffix(record(23, 400), []byte{0x80 | byte(399*7%256)}), 0, 0},
		{"TLS 1.0", []byte("\x17\x03\x01\x00\x02ab"), 0, 1},
		{"from a record on", whole[5+512:], 0, 4},
		{"from the middle of a record on", whole[100:], 0, 4},
		{"from the middle of a header on", whole[2:], 0, 4},
		{"from the middle of the last record on", record(23, 400)[200:], 0, 0},
		{"one record after the middle of another: nothing proves it", append(record(23, 400)[200:], record(23, 30)...), 0, 0},
		{"two of them", append(append(record(23, 400)[200:], record(23, 30)...), record(23, 31)...), 0, 2},
		{"a record alone in garbage, then others", append(append(append([]byte("garbage"), record(23, 30)...), "garbage"...), session(60)...), 0, 1},
		{"an empty handshake record proves nothing", append([]byte("garbage\x16\x03\x03\x00\x00"), record(23, 30)...), 0, 0},
		{"garbage between", append(append(session(50), "garbage"...), session(60)...), 0, 2},
		{"SIP", []byte(register), 0, 0},
		{"a record that is too long", append([]byte("\x17\x03\x03\x50\x00"), session(50, 60)...), 0, 2},
		{"empty handshake records", bytes.Repeat([]byte("\x16\x03\x03\x00\x00"), 20), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range sizes {
				if size < 3 && len(tt.in) > 5000 {
					continue
				}
				r := TLSRecords{Least: tt.least}
				got := 0
				for b := tt.in; len(b) > 0; {
					n := min(size, len(b))
					got += r.Feed(b[:n])
					b = b[n:]
				}
				if got != tt.want {
					t.Errorf("pieces of %d: got %d, want %d", size, got, tt.want)
				}
			}
		})
	}
}

// A gap in the middle of a record must not make what follows look like the rest of that record.
func TestTLSRecords_Gap(t *testing.T) {
	r := TLSRecords{Least: 10}
	got := r.Feed(record(23, 400)) + r.Feed(record(23, 400)[:100])
	r.Gap()
	if r.Synced() {
		t.Error("in step right after a gap")
	}
	got += r.Feed(record(23, 500)) + r.Feed(record(23, 5))
	if got != 2 || !r.Synced() {
		t.Errorf("got %d, in step %v", got, r.Synced())
	}
}

// The count does not depend on the cuts, and can't be more than what was fed allows.
func FuzzTLSRecords(f *testing.F) {
	f.Add(session(400, 0, 21), uint16(0), uint64(1))
	f.Add(session(400, 21, 500)[100:], uint16(128), uint64(2))
	f.Add(append(session(10), session(20, 30)[3:]...), uint16(1), uint64(3))
	f.Add(bytes.Repeat([]byte("\x17\x03"), 40), uint16(0), uint64(4))
	f.Add(bytes.Repeat([]byte("\x17\x03\x03\x00\x00"), 40), uint16(0), uint64(4))
	f.Add([]byte(register), uint16(0), uint64(5))
	f.Fuzz(func(t *testing.T, in []byte, least uint16, seed uint64) {
		one, cut, octets := TLSRecords{Least: least}, TLSRecords{Least: least}, TLSRecords{Least: least}
		want := one.Feed(in)
		if want > len(in)/(recordHeader+max(1, int(least))) {
			t.Fatalf("%d records in %d octets", want, len(in))
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		got, single := 0, 0
		for rest := in; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			got += cut.Feed(rest[:n])
			rest = rest[n:]
		}
		for i := range in {
			single += octets.Feed(in[i : i+1])
		}
		if got != want || single != want || cut != one || octets != one {
			t.Fatalf("in one piece %d, in random pieces %d, octet by octet %d", want, got, single)
		}
	})
}
