package oos

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	tests := []struct {
		name, in             string
		code                 int
		branch, callID, cseq string
	}{
		{"plain", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport=5\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n", 200, "z9hG4bK1", "c", "1 OPTIONS"},
		{"no reason phrase", "SIP/2.0 404\r\nv: SIP/2.0/UDP h;branch=b\r\n\r\n", 404, "b", "", ""},
		{"lines of LF alone, no end", "SIP/2.0 483 Too\nVIA : SIP/2.0/UDP h ; Branch = b\nI:c", 483, "b", "c", ""},
		{"empty lines first", "\r\n\r\nSIP/2.0 503 x\r\nv:x;branch=b\r\n\r\n", 503, "b", "", ""},
		{"folded", "sip/2.0 200 OK\r\nVia: SIP/2.0/UDP\r\n h;received=1.2.3.4\r\n\t;branch=b\r\nCSeq:\r\n 1\r\n OPTIONS\r\n\r\n", 200, "b", "", "1\r\n OPTIONS"},
		{"several in one line", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;x=\"a;b,c\\\";branch=no\";branch=b, SIP/2.0/UDP i;branch=no\r\n\r\n", 200, "b", "", ""},
		{"several lines", "SIP/2.0 200 OK\r\nVia: x;branch=b\r\nVia: x;branch=no\r\n\r\n", 200, "b", "", ""},
		{"not in the second value", "SIP/2.0 200 OK\r\nVia: x, y;branch=no\r\n\r\n", 200, "", "", ""},
		{"not in the body", "SIP/2.0 200 OK\r\n\r\nVia: x;branch=no\r\n", 200, "", "", ""},
		{"rubbish between", "SIP/2.0 200 OK\r\nwhat is this\r\n: x\r\nVia: x;;branch;=;branch=b\r\nMax-Forwards: -\xff\r\n\r\n", 200, "b", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseReply([]byte(tt.in))
			if !ok || got.code != tt.code || string(got.branch) != tt.branch || string(got.callID) != tt.callID || string(got.cseq) != tt.cseq {
				t.Errorf("got %d %q %q %q, %v", got.code, got.branch, got.callID, got.cseq, ok)
			}
		})
	}
}

func TestParseReply_isNone(t *testing.T) {
	for _, in := range []string{
		"", "\r\n\r\n", "SIP/2.0", "SIP/2.0 20", "SIP/2.0 2000 OK", "SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/3.0 200 OK", "SIP/2.0 2x0 OK",
		"OPTIONS sip:h SIP/2.0\r\nVia: x;branch=b\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("\x00", 100),
	} {
		if r, ok := parseReply([]byte(in)); ok {
			t.Errorf("%q: got %+v", in, r)
		}
	}
}

func TestParseReply_allocatesNothing(t *testing.T) {
	m := newMessage(UDP, netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("10.0.0.1:5060"))
	in := replyTo(m.next(0), 200)
	if got := testing.AllocsPerRun(100, func() {
		r, _ := parseReply(in)
		if _, ok := m.identify(r); !ok {
			t.Fatal("not ours")
		}
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

// replyTo answers a request as a server does: it repeats Via, From, To, Call-ID and CSeq.
func replyTo(request []byte, code int) []byte {
	_, rest := cutLine(request)
	b := fmt.Appendf(nil, "SIP/2.0 %d Whatever\r\n", code)
	for {
		header, after := cutHeader(rest)
		if len(header) == 0 {
			return append(b, "Content-Length: 0\r\n\r\n"...)
		}
		rest = after
		switch name, _, _ := bytes.Cut(header, []byte(":")); string(name) {
		case "Via", "From", "To", "Call-ID", "CSeq":
			b = append(b, header...)
		}
	}
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
		r, ok := parseReply(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the reader changed its input")
		}
		if ok && (r.code < 100 || r.code > 699) {
			t.Fatalf("code %d", r.code)
		}
		for _, part := range [][]byte{r.branch, r.callID, r.cseq} {
			if !bytes.Contains(in, part) {
				t.Fatalf("%q is not in the message", part)
			}
		}
		if _, ours := m.identify(r); ours && !bytes.Contains(in, []byte(magic+"0123456789abcdef")) {
			t.Fatalf("took %q for ours", in)
		}
		if n, err := frameLength(in); err == nil && (n < 0 || n > maxFrame) {
			t.Fatalf("frame of %d octets", n)
		}
	})
}
