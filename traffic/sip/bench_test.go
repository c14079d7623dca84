package sip

import (
	"bytes"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	in := []byte(register)
	var m Message
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// What an observer asks of every message.
func BenchmarkParse_andMatch(b *testing.B) {
	in := []byte(register)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in, &m); err != nil {
			b.Fatal(err)
		}
		if _, _, ok := m.CSeq(); !ok || m.CallID() == nil || m.TopViaBranch() == nil {
			b.Fatal("not read")
		}
	}
}

// What it takes to learn a binding as well.
func BenchmarkParse_andContacts(b *testing.B) {
	in := []byte(register)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if read(in, &m) == 0 {
			b.Fatal("not read")
		}
	}
}

// One message in a segment, as most are.
func BenchmarkStream_whole(b *testing.B) { benchmarkStream(b, len(register)) }

// Messages over segments of an Ethernet that have nothing to do with where they begin.
func BenchmarkStream_segments(b *testing.B) { benchmarkStream(b, 1448) }

// An attacker who sends octet by octet.
func BenchmarkStream_drip(b *testing.B) { benchmarkStream(b, 1) }

// benchmarkStream gives the time for one message.
func benchmarkStream(b *testing.B, segment int) {
	in := bytes.Repeat([]byte(register), 64)
	var s Stream
	messages := 0
	emit := func([]byte) { messages++ }
	b.ReportAllocs()
	rest := in
	for b.Loop() {
		for want := messages + 1; messages < want; {
			if len(rest) == 0 {
				rest = in
			}
			n := min(segment, len(rest))
			s.Feed(rest[:n], emit)
			rest = rest[n:]
		}
	}
}

func BenchmarkTLSRecords(b *testing.B) {
	in := bytes.Repeat(record(23, 600), 8)
	var r TLSRecords
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if r.Feed(in) != 8 {
			b.Fatal("miscounted")
		}
	}
}

// The worst that a stream can hold for the search for records.
func BenchmarkTLSRecords_garbage(b *testing.B) {
	in := bytes.Repeat([]byte{23, 3}, 4096)
	var r TLSRecords
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		r.Feed(in)
	}
}
