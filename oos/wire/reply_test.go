package wire

import (
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
			got, ok := ParseReply([]byte(tt.in))
			if !ok || got.Code != tt.code || string(got.Branch) != tt.branch || string(got.CallID) != tt.callID || string(got.CSeq) != tt.cseq {
				t.Errorf("got %d %q %q %q, %v", got.Code, got.Branch, got.CallID, got.CSeq, ok)
			}
		})
	}
}

func TestParseReply_isNone(t *testing.T) {
	for _, in := range []string{
		"", "\r\n\r\n", "SIP/2.0", "SIP/2.0 20", "SIP/2.0 2000 OK", "SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/3.0 200 OK", "SIP/2.0 2x0 OK",
		"OPTIONS sip:h SIP/2.0\r\nVia: x;branch=b\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("\x00", 100),
	} {
		if r, ok := ParseReply([]byte(in)); ok {
			t.Errorf("%q: got %+v", in, r)
		}
	}
}
