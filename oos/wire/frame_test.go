package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFramer(t *testing.T) {
	const (
		first  = "SIP/2.0 200 OK\r\nVia: x;branch=1\r\nContent-Length: 5\r\n\r\nab\r\nc"
		second = "OPTIONS sip:u SIP/2.0\nl : 0\n\n"
		third  = "SIP/2.0 503 No\r\n\r\n"
	)
	stream := "\r\n\r\n" + first + "\r\n" + second + third + "SIP/2.0 200"
	for name, r := range map[string]io.Reader{
		"octet by octet": iotest.OneByteReader(strings.NewReader(stream)),
		"at once":        strings.NewReader(stream),
	} {
		f := Framer{R: r}
		for _, want := range []string{first, second, third} {
			if got, err := f.Next(); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
		if got, err := f.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %q, %v, want the end", name, got, err)
		}
	}
}

func TestFramer_isBounded(t *testing.T) {
	for name, in := range map[string][]byte{
		"endless header":   append([]byte("SIP/2.0 200 OK\r\nX: "), bytes.Repeat([]byte("x"), 2*MaxFrame)...),
		"endless line":     bytes.Repeat([]byte("x"), 2*MaxFrame),
		"huge body":        []byte("SIP/2.0 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
		"negative length":  []byte("SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n"),
		"length in words":  []byte("SIP/2.0 200 OK\r\nContent-Length: five\r\n\r\n"),
		"length too large": []byte("SIP/2.0 200 OK\r\nContent-Length: 65536\r\n\r\n"),
	} {
		f := Framer{R: bytes.NewReader(in)}
		if got, err := f.Next(); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %d octets, %v", name, len(got), err)
		}
	}
}

// No octets may crash the reader of streams, or have it give more than there is.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabcSIP/2.0 200 OK\r\n\r\n"))
	f.Add([]byte("\r\n\r\nSIP/2.0 200 OK\nl: 99999999999\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := Framer{R: bytes.NewReader(b)}
		total := 0
		for {
			m, err := fr.Next()
			if err != nil {
				return
			}
			if total += len(m); total > len(b) || len(m) == 0 {
				t.Fatalf("%d octets of %d", total, len(b))
			}
		}
	})
}
