package sip

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	gosip "github.com/emiago/sipgo/sip"
)

// What a strict parser accepts is read here as that parser reads it: method, code, Call-ID, CSeq, branch, tags, bindings.
func TestParse_likeSipgo(t *testing.T) {
	parser := gosip.NewParser()
	rng := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		in := wellFormed(rng)
		theirs, err := parser.ParseSIP([]byte(in))
		if err != nil {
			t.Fatalf("sipgo: %v: %q", err, in)
		}
		got, want := ours(t, in), ofSipgo(t, theirs)
		if got != want {
			t.Fatalf("got\n%s\nsipgo has\n%s\nof\n%s", got, want, in)
		}
	}
}

func ours(t *testing.T, in string) string {
	m := parse(t, in)
	n, method, _ := m.CSeq()
	out := fmt.Sprintf("%s %d; %s; %d %s; %s; %s; %s; %d;", m.Method, m.Status, m.CallID(), n, method, m.TopViaBranch(), m.FromTag(), m.ToTag(), len(m.Body))
	for c := range m.Contacts() {
		value, _ := c.Param("expires")
		out += fmt.Sprintf(" %s=%s", c.URI, value)
	}
	return out
}

func ofSipgo(t *testing.T, msg gosip.Message) string {
	t.Helper()
	var method string
	var status int
	switch m := msg.(type) {
	case *gosip.Request:
		method = string(m.Method)
	case *gosip.Response:
		status = m.StatusCode
	}
	cseq := msg.CSeq()
	branch, _ := msg.Via().Params.Get("branch")
	fromTag, _ := msg.From().Params.Get("tag")
	toTag, _ := msg.To().Params.Get("tag")
	out := fmt.Sprintf("%s %d; %s; %d %s; %s; %s; %s; %d;", method, status, callIDOf(msg), cseq.SeqNo, cseq.MethodName, branch, fromTag, toTag, len(msg.Body()))
	for _, h := range msg.GetHeaders("Contact") {
		c, ok := h.(*gosip.ContactHeader)
		if !ok {
			t.Fatalf("sipgo: contact is %T", h)
		}
		value, _ := c.Params.Get("expires")
		out += fmt.Sprintf(" %s=%s", c.Address.String(), value)
	}
	return out
}

func callIDOf(msg gosip.Message) string {
	if id := msg.CallID(); id != nil {
		return string(*id)
	}
	return ""
}

// wellFormed makes a correct message out of what phones and servers send.
func wellFormed(rng *rand.Rand) string {
	one := func(of ...string) string { return of[rng.IntN(len(of))] }
	method := one(methods[:]...)
	var b strings.Builder
	line := func(long, short, value string) {
		name := long
		if short != "" && rng.IntN(4) == 0 {
			name = short
		}
		b.WriteString(name + one(": ", ":", ":  ") + value + "\r\n")
	}
	if rng.IntN(2) == 0 {
		b.WriteString(method + " " + one("sip:h", "sips:a@h.example.com", "sip:bob@192.0.2.1:5070;transport=tcp", "sip:[2001:db8::1]:5060") + " SIP/2.0\r\n")
	} else {
		b.WriteString("SIP/2.0 " + one("100 Trying", "180 Ringing", "200 OK", "302 Moved Temporarily", "401 Unauthorized", "503 Service Unavailable", "603 Decline") + "\r\n")
	}
	for i := range 1 + rng.IntN(3) {
		line("Via", "v", fmt.Sprintf("SIP/2.0/%s 192.0.2.%d:5060;branch=z9hG4bK%x%s", one("UDP", "TCP", "TLS", "WS"), i+1, rng.Uint64(), one("", ";rport", ";received=192.0.2.9;rport=41022")))
	}
	line("From", "f", one("", "Alice ", "\"Alice; and, Bob\" ", "\"\" ")+"<sip:alice@example.com"+one("", ";user=phone")+">;tag="+fmt.Sprintf("%x", rng.Uint32()))
	line("To", "t", one("<sip:bob@example.com>", "\"Bob\" <sip:bob@example.com>", "sip:bob@example.com")+one("", ";tag="+fmt.Sprintf("%x", rng.Uint32())))
	line("Call-ID", "i", fmt.Sprintf("%x%s", rng.Uint64(), one("", "@h.example.com", "@192.0.2.1")))
	line("CSeq", "", fmt.Sprintf("%d %s", rng.Uint32()>>1, method))
	line("Max-Forwards", "", "70")
	for range rng.IntN(3) {
		line("Contact", "m", one("<sip:alice@192.0.2.1:5060>", "<sip:alice@192.0.2.1:5060;transport=tcp;ob>", "\"A, B\" <sip:b@h>")+one("", ";expires=60", ";q=0.5;expires=0", ";expires=3600;reg-id=1"))
	}
	for range rng.IntN(20) {
		line(one("User-Agent", "Server", "X-Header", "P-Asserted-Identity", "Authorization"), "", one("x", "Digest username=\"a\", realm=\"b; c\", nonce=\"d=,e\"", "<sip:a@h>, <tel:+1>"))
	}
	body := strings.Repeat("v=0\r\n", rng.IntN(20))
	if body != "" {
		line("Content-Type", "c", "application/sdp")
	}
	line("Content-Length", "l", fmt.Sprint(len(body)))
	return b.String() + "\r\n" + body
}
