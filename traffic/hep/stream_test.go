package hep

import (
	"bytes"
	"errors"
	"testing"
)

// Packets come out whole, each once, however they were cut.
func TestStream(t *testing.T) {
	a, b := packet(chunks(v4)), packet(chunks(v6))
	largest := packet(chunk(nil, 0, 15, bytes.Repeat([]byte("x"), 65535-2*header)))
	in := bytes.Join([][]byte{a, b, packet(nil), largest, a}, nil)
	want := string(bytes.Join([][]byte{a, b, packet(nil), largest, a, nil}, []byte("|")))
	for _, size := range []int{1, 2, 5, 6, 7, 100, 1448, 65535, len(in)} {
		var s Stream
		got, err := collect(&s, in, size)
		if err != nil || got != want {
			t.Errorf("pieces of %d: got %d octets, want %d, %v", size, len(got), len(want), err)
		}
		if len(s.buf) != 0 || cap(s.buf) > 2*65535 {
			t.Errorf("pieces of %d: keeps %d octets in %d", size, len(s.buf), cap(s.buf))
		}
	}
}

// What is no HEP is told at its first octet that shows it, and for good.
func TestStream_errors(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"SIP", options, ErrNotHEP},
		{"one octet", "x", ErrNotHEP},
		{"another version", "HEP2", ErrNotHEP},
		{"no length", "HEP3\x00\x00", ErrMalformed},
		{"length less than a header", "HEP3\x00\x05", ErrMalformed},
		{"after a packet", string(packet(nil)) + "HEPX", ErrNotHEP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 3, 1000} {
				var s Stream
				if _, err := collect(&s, []byte(tt.in), size); !errors.Is(err, tt.want) {
					t.Errorf("pieces of %d: got %v, want %v", size, err, tt.want)
				}
				if got, err := collect(&s, packet(chunks(v4)), 1000); got != "" || !errors.Is(err, ErrNotHEP) {
					t.Errorf("goes on after an error: %q, %v", got, err)
				}
			}
		})
	}
}
