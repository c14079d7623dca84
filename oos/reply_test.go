package oos

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/understudy-sip/understudy/oos/wire"
)

func TestMessage_identifyAllocatesNothing(t *testing.T) {
	m := newMessage(UDP, netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("10.0.0.1:5060"))
	in := replyTo(m.next(0), 200)
	if got := testing.AllocsPerRun(100, func() {
		r, _ := wire.ParseReply(in)
		if _, ok := m.identify(r); !ok {
			t.Fatal("not ours")
		}
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

// replyTo answers a request as a server does: it repeats Via, From, To, Call-ID and CSeq.
func replyTo(request []byte, code int) []byte {
	b := fmt.Appendf(nil, "SIP/2.0 %d Whatever\r\n", code)
	for line := range bytes.Lines(request) {
		switch name, _, _ := bytes.Cut(line, []byte(":")); string(name) {
		case "Via", "From", "To", "Call-ID", "CSeq":
			b = append(b, line...)
		}
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// No octets may crash the reader, and whatever else is in a message, only our own branch counts.
func FuzzReply(f *testing.F) {
	m := newMessage(UDP, netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("[2001:db8::1]:5060"))
	m.token = []byte("0123456789abcdef")
	for _, code := range []int{100, 200, 503, 604} {
		f.Add(replyTo(m.next(0), code))
	}
	f.Add([]byte("SIP/2.0 200\nv:x;branch=z9hG4bK0123456789abcdef00000001"))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: a\r\n ;branch = \"\\\r\nv: x\r\n\r\n"))
	f.Add([]byte("\r\nSIP/2.0 200 OK\r\n: \r\n,;=,;branch=\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		r, ok := wire.ParseReply(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the reader changed its input")
		}
		if ok && (r.Code < 100 || r.Code > 699) {
			t.Fatalf("code %d", r.Code)
		}
		for _, part := range [][]byte{r.Branch, r.CallID, r.CSeq} {
			if !bytes.Contains(in, part) {
				t.Fatalf("%q is not in the message", part)
			}
		}
		if _, ours := m.identify(r); ours && !bytes.Contains(in, []byte(magic+"0123456789abcdef")) {
			t.Fatalf("took %q for ours", in)
		}
	})
}
