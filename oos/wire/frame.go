package wire

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

// MaxFrame bounds a message on a stream.
const MaxFrame = 64 << 10

// ErrFrame reports a stream that is no sequence of SIP messages.
var ErrFrame = errors.New("no SIP message")

// Framer cuts messages from a stream by their Content-Length (RFC 3261 18.3).
type Framer struct {
	R io.Reader

	buf  []byte
	done int // octets at the start of buf that were given out
}

// Next gives the next message; it is valid until the call after.
func (f *Framer) Next() ([]byte, error) {
	f.buf = append(f.buf[:0], f.buf[f.done:]...)
	f.done = 0
	for {
		skipped := len(f.buf) - len(skipCRLF(f.buf))
		f.buf = f.buf[:copy(f.buf, f.buf[skipped:])]
		n, err := frameLength(f.buf)
		if err != nil {
			return nil, err
		}
		if n > 0 && n <= len(f.buf) {
			f.done = n
			return f.buf[:n], nil
		}
		if len(f.buf) == cap(f.buf) {
			f.buf = append(make([]byte, 0, 2*cap(f.buf)+4096), f.buf...)
		}
		k, err := f.R.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf = f.buf[:len(f.buf)+k]
		if err != nil && k == 0 {
			return nil, err
		}
	}
}

// frameLength gives the length of the message that b starts with, 0 if its headers are not complete. A message without
// Content-Length has no body.
func frameLength(b []byte) (int, error) {
	head := headLength(b)
	if head == 0 {
		if len(b) > MaxFrame {
			return 0, ErrFrame
		}
		return 0, nil
	}
	_, rest := cutLine(b[:head])
	body := 0
	for len(rest) > 0 {
		var header []byte
		header, rest = cutHeader(rest)
		name, value, found := bytes.Cut(header, []byte(":"))
		if name = trim(name); !found || (!is(name, "content-length") && !is(name, "l")) {
			continue
		}
		n, err := strconv.ParseUint(string(trim(value)), 10, 31)
		if err != nil || n > MaxFrame {
			return 0, ErrFrame
		}
		body = int(n)
	}
	if head+body > MaxFrame {
		return 0, ErrFrame
	}
	return head + body, nil
}

// headLength gives the length of the headers with the empty line that ends them, 0 without one.
func headLength(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		if rest := b[at:]; bytes.HasPrefix(rest, []byte("\n")) {
			return at + 1
		} else if bytes.HasPrefix(rest, []byte("\r\n")) {
			return at + 2
		}
	}
}
