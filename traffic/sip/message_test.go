package sip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// register is a REGISTER with 14 headers, as phones send it.
const register = "REGISTER sip:example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.44:41022;branch=z9hG4bKPj7c3ad5f0f6f24a6ea2f9a32fca0ff7d2;rport\r\n" +
	"Route: <sip:edge.example.com;lr>\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Alice, at home\" <sip:alice@example.com>;tag=5c5b4ad6dd0a4e80\r\n" +
	"To: \"Alice, at home\" <sip:alice@example.com>\r\n" +
	"Call-ID: 9d4b8a7e-7c43-4e64-9df8-b3ffb3bd6c3f\r\n" +
	"CSeq: 52141 REGISTER\r\n" +
	"User-Agent: Phone 1.2.3 (4567)\r\n" +
	"Supported: outbound, path, gruu\r\n" +
	"Contact: \"Alice, at home\" <sip:alice@192.0.2.44:41022;transport=udp;ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=1;expires=600\r\n" +
	"Expires: 600\r\n" +
	"Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS\r\n" +
	"Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"ZQ2mmGUNpWzPpzCzS+NkWSMpxmkz1QhT\", uri=\"sip:example.com\", response=\"f2c0d2b0c1e4f1a5f8d3b5b1d2c3e4f5\", algorithm=MD5, cnonce=\"a3f4b5c6d7e8\", qop=auth, nc=00000001\r\n" +
	"Content-Length: 0\r\n\r\n"

func parse(t *testing.T, in string) *Message {
	t.Helper()
	var m Message
	n, err := Parse([]byte(in), &m)
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	if n <= 0 || n > len(in) {
		t.Fatalf("%q: takes %d of %d octets", in, n, len(in))
	}
	return &m
}

// Whatever strict parsers refuse or read wrongly is read here as servers read it.
func TestParse(t *testing.T) {
	const rest = "Via: SIP/2.0/UDP h;branch=b\r\nFrom: <sip:f>;tag=f\r\nTo: <sip:t>;tag=t\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n"
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	tests := []struct{ name, in, start string }{
		{"request", "OPTIONS sip:h SIP/2.0\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"response", "SIP/2.0 200 OK\r\n" + rest + "\r\n", "200"},
		{"lines of LF alone", lf("OPTIONS sip:h SIP/2.0\r\n" + rest + "\r\n"), "OPTIONS sip:h"},
		{"no empty line at the end", "OPTIONS sip:h SIP/2.0\r\n" + rest, "OPTIONS sip:h"},
		{"no line end at the end", "OPTIONS sip:h SIP/2.0\r\n" + strings.TrimSpace(rest), "OPTIONS sip:h"},
		{"no reason phrase", "SIP/2.0 404 \r\n" + rest + "\r\n", "404"},
		{"nothing after the code", "SIP/2.0 404\r\n" + rest + "\r\n", "404"},
		{"empty lines first", "\r\n\r\n\nSIP/2.0 503 x\r\n" + rest + "\r\n", "503"},
		{"a line without colon", "OPTIONS sip:h SIP/2.0\r\nwhat is this\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"no name", "OPTIONS sip:h SIP/2.0\r\n: x\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"bad Max-Forwards", "OPTIONS sip:h SIP/2.0\r\nMax-Forwards: many\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"bad Content-Length", "OPTIONS sip:h SIP/2.0\r\n" + rest + "Content-Length: -999\r\n\r\n", "OPTIONS sip:h"},
		{"Content-Length beyond the datagram", "OPTIONS sip:h SIP/2.0\r\n" + rest + "Content-Length: 99999999999999999999999\r\n\r\nx", "OPTIONS sip:h"},
		{"empty Contact", "OPTIONS sip:h SIP/2.0\r\nContact:\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"unclosed Contact", "OPTIONS sip:h SIP/2.0\r\nContact: <sip:x\r\n" + rest + "\r\n", "OPTIONS sip:h"},
		{"compact", "SIP/2.0 200 OK\r\nv:SIP/2.0/UDP h;branch=b\r\nf:<sip:f>;tag=f\r\nt:<sip:t>;tag=t\r\ni:c\r\nCSeq:7 OPTIONS\r\nl:0\r\n\r\n", "200"},
		{"folded", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP\r\n h\r\n\t;branch=b\r\nFrom:\r\n <sip:f>\r\n ;tag=f\r\nTo: <sip:t>;\r\n tag=t\r\nCall-ID:\r\n c\r\nCSeq: 7\r\n OPTIONS\r\n\r\n", "200"},
		{"spaces", "OPTIONS   sip:h \t SIP/2.0  \r\nVia : SIP / 2.0 / UDP h ; branch = b ; x\r\nFROM\t:sip:f ; Tag = f\r\ntO : \"x;tag=no\" <sip:t;tag=no> ; tag = t\r\nCall-ID :  c \r\nCSeq : 7 \t OPTIONS \r\n\r\n", "OPTIONS sip:h"},
		{"case", "OPTIONS sip:h sip/2.0\r\nVIA: SIP/2.0/UDP h;BRANCH=b\r\nfrom: sip:f;TAG=f\r\nto: sip:t;tAG=t\r\ncall-id: c\r\ncseq: 7 OPTIONS\r\n\r\n", "OPTIONS sip:h"},
		{"quoted", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;x=\"a;b,c\\\";branch=no\";branch=b, SIP/2.0/UDP i;branch=no\r\nFrom: \"a\\\" <sip:no>;tag=no\" <sip:f>;tag=\"f\"\r\nTo: a <sip:t>;tag=t\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n\r\n", "200"},
		{"the first counts", "SIP/2.0 200 OK\r\n" + rest + "Via: y;branch=no\r\nTo: z;tag=no\r\nCall-ID: no\r\nCSeq: 8 BYE\r\n\r\n", "200"},
		{"not in the body", "SIP/2.0 200 OK\r\n" + rest + "\r\nVia: x;branch=no\r\n", "200"},
		{"later than any index", "SIP/2.0 200 OK\r\n" + strings.Repeat("X: y\r\n", 3*maxFields) + rest + "\r\n", "200"},
		{"across the end of the index", "SIP/2.0 200 OK\r\n" + strings.Repeat("X: y\r\n", maxFields-2) + rest + "\r\n", "200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := parse(t, tt.in)
			start := fmt.Sprint(m.Status)
			if m.Request {
				start = fmt.Sprintf("%s %s", m.Method, m.URI)
			}
			if start != tt.start {
				t.Errorf("got %q, want %q", start, tt.start)
			}
			num, method, ok := m.CSeq()
			got := fmt.Sprintf("%s %s %s %s %d %s %v", m.TopViaBranch(), m.FromTag(), m.ToTag(), m.CallID(), num, method, ok)
			if want := "b f t c 7 OPTIONS true"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if !m.Complete() {
				t.Error("not complete")
			}
		})
	}
}

func TestParse_isNone(t *testing.T) {
	stun := "\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijklPAYLOAD8"
	tests := []struct {
		name, in string
		want     error
	}{
		{"empty", "", ErrKeepAlive},
		{"empty lines", "\r\n\r\n", ErrKeepAlive},
		{"one line end", "\n", ErrKeepAlive},
		{"spaces", " \t \r\n", ErrKeepAlive},
		{"NULs", "\x00\x00\x00\x00", ErrKeepAlive},
		{"STUN request", stun, ErrKeepAlive},
		{"STUN response", "\x01\x01" + stun[2:], ErrKeepAlive},
		{"STUN without cookie", "\x00\x01\x00\x00abcdefghijklmnop", ErrKeepAlive},
		{"STUN cut off", stun[:len(stun)-1], ErrNotSIP},
		{"TURN", "\x00\x03" + stun[2:], ErrNotSIP},
		{"keep-alive of a phone", "jaK\x00", ErrNotSIP},
		{"version alone", "SIP/2.0", ErrNotSIP},
		{"two digits", "SIP/2.0 20", ErrNotSIP},
		{"four digits", "SIP/2.0 2000 OK", ErrNotSIP},
		{"code out of range", "SIP/2.0 099 x", ErrNotSIP},
		{"larger code", "SIP/2.0 700 x", ErrNotSIP},
		{"code glued on", "SIP/2.0200 OK", ErrNotSIP},
		{"code with a letter", "SIP/2.0 2x0 OK", ErrNotSIP},
		{"code with a tail", "SIP/2.0 200OK", ErrNotSIP},
		{"other version", "SIP/3.0 200 OK\r\n\r\n", ErrNotSIP},
		{"request of another version", "OPTIONS sip:h SIP/7.0\r\n\r\n", ErrNotSIP},
		{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ErrNotSIP},
		{"HTTP response", "HTTP/1.1 200 OK\r\n\r\n", ErrNotSIP},
		{"no URI", "OPTIONS  SIP/2.0\r\n\r\n", ErrNotSIP},
		{"no version", "OPTIONS sip:h\r\n\r\n", ErrNotSIP},
		{"no method", " sip:h SIP/2.0\r\n\r\n", ErrNotSIP},
		{"method that is none", "OPT(IONS sip:h SIP/2.0\r\n\r\n", ErrNotSIP},
		{"version glued on", "OPTIONS sip:hSIP/2.0\r\n\r\n", ErrNotSIP},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", ErrNotSIP},
		{"RTP", "\x80\x00\x12\x34" + strings.Repeat("x", 160), ErrNotSIP},
		{"too long", "OPTIONS sip:h SIP/2.0\r\n\r\n" + strings.Repeat("x", MaxMessage), ErrTooLong},
	}
	m := parse(t, register)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Parse([]byte(tt.in), m)
			if !errors.Is(err, tt.want) || n != 0 {
				t.Errorf("got %d, %v, want %v", n, err, tt.want)
			}
			if m.Request || m.Method != nil || m.Status != 0 || m.CallID() != nil || m.Complete() || m.Header("User-Agent") != nil {
				t.Error("something of the message before is left")
			}
		})
	}
}

// A datagram may be padded and a stream goes on: a message takes what its Content-Length says (RFC 3261 18.3).
func TestParse_takesTheMessage(t *testing.T) {
	const head = "\r\nMESSAGE sip:h SIP/2.0\r\nCall-ID: c\r\n"
	tests := []struct {
		name, in string
		n        int
		body     string
	}{
		{"length and more", head + "Content-Length: 3\r\n\r\nabcdef", len(head) + 24, "abc"},
		{"compact", head + "l : 3\r\n\r\nabcdef", len(head) + 12, "abc"},
		{"folded", head + "l:\r\n 3\r\n\r\nabcdef", len(head) + 13, "abc"},
		{"the first of two", head + "l: 3\r\nl: 5\r\n\r\nabcdef", len(head) + 17, "abc"},
		{"the readable of two", head + "l: x\r\nl: 3\r\n\r\nabcdef", len(head) + 17, "abc"},
		{"none", head + "l: 0\r\n\r\nabcdef", len(head) + 8, ""},
		{"no length", head + "\r\nabcdef", len(head) + 8, "abcdef"},
		{"no number", head + "l: 3 octets\r\n\r\nabcdef", len(head) + 21, "abcdef"},
		{"negative", head + "l: -3\r\n\r\nabcdef", len(head) + 15, "abcdef"},
		{"more than there is", head + "l: 300\r\n\r\nabcdef", len(head) + 16, "abcdef"},
		{"after the index", head + strings.Repeat("x:y\n", 2*maxFields) + "l: 3\r\n\r\nabcdef", len(head) + 8*maxFields + 11, "abc"},
		{"headers without end", head + "l: 3", len(head) + 4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			n, err := Parse([]byte(tt.in), &m)
			if err != nil || n != tt.n || string(m.Body) != tt.body {
				t.Errorf("got %d %q, %v, want %d %q", n, m.Body, err, tt.n, tt.body)
			}
		})
	}
}

func TestMessage_Header(t *testing.T) {
	m := parse(t, "SIP/2.0 200 OK\r\nSupported: a\r\nk: b, c\r\nX-Empty:\r\nsubject: one,\r\n two\r\nS: three\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n\r\n")
	for name, want := range map[string]string{
		"Supported": "a", "k": "a", "K": "a", "SUPPORTED": "a", "x-empty": "", "Subject": "one,\r\n two", "s": "one,\r\n two", "date": "Sat, 13 Nov 2010 23:29:00 GMT",
	} {
		if got := m.Header(name); got == nil || string(got) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"", "Support", "Via", "v", "x", "Contact", "SIP/2.0 200 OK"} {
		if got := m.Header(name); got != nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestMessage_Headers(t *testing.T) {
	m := parse(t, "INVITE sip:h SIP/2.0\r\n"+
		"Via: a;x=\"1,2\" , b\r\nv: c\r\nVia:\r\nVIA: d,,\r\n , e\r\n"+
		"Route: <sip:a,b;lr>, \"x, \\\" <sip:no>\" <sip:c>,d\r\n"+
		"Record-Route: <sip:unclosed, <sip:b>, <sip:c, d\r\n"+
		"Path: \"unclosed <sip:a,b>, <sip:c>\r\n"+
		"Subject: one, two\r\nSubject: three\r\n"+
		"k: a,b\r\nSupported: c\r\n"+strings.Repeat("X: y\r\n", maxFields)+"Via: f,g\r\n\r\n")
	for name, want := range map[string][]string{
		"Via":          {"a;x=\"1,2\"", "b", "c", "d", "e", "f", "g"},
		"route":        {"<sip:a,b;lr>", "\"x, \\\" <sip:no>\" <sip:c>", "d"},
		"Record-Route": {"<sip:unclosed, <sip:b>", "<sip:c", "d"},
		"Path":         {"\"unclosed <sip:a,b>", "<sip:c>"},
		"Subject":      {"one, two", "three"},
		"Supported":    {"a", "b", "c"},
		"Contact":      nil,
	} {
		var got []string
		for value := range m.Headers(name) {
			got = append(got, string(value))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for range m.Headers("Via") {
		break // a loop may end early
	}
}

func TestMessage_Contacts(t *testing.T) {
	m := parse(t, "SIP/2.0 200 OK\r\n"+
		"Contact: <sip:a@h;transport=tcp;expires=1>;EXPIRES=60;Q=0.7;+sip.instance=\"<urn:uuid:0>\";reg-id=1\r\n"+
		"m: \"A, \\\"B\\\" <c;expires=2>\" < sip:b@h > ; Expires = \"3600\" ; received = \"sip:192.0.2.1:41022;transport=tcp\" , sip:c@h;expires=0,*\r\n"+
		"Contact: tel:+123;expires=99999999999;expires=1;reg-id, <sip:d@h>;expires=;q, <sip:unclosed;expires=5\r\n"+
		"Contact:\r\nContact: sip:e@[2001:db8::1]:5060;expires=x;received=<sip:f;g>\r\n\r\n")
	type binding struct{ uri, expires, q, instance, regID, received string }
	param := func(c Contact, name string) string {
		value, ok := c.Param(name)
		if !ok {
			return "-"
		}
		return string(value)
	}
	var got []binding
	for c := range m.Contacts() {
		seconds, ok := c.Expires()
		b := binding{string(c.URI), "-", param(c, "q"), param(c, "+sip.instance"), param(c, "reg-id"), param(c, "received")}
		if ok {
			b.expires = fmt.Sprint(seconds)
		}
		got = append(got, b)
	}
	want := []binding{
		{"sip:a@h;transport=tcp;expires=1", "60", "0.7", "<urn:uuid:0>", "1", "-"},
		{"sip:b@h", "3600", "-", "-", "-", "sip:192.0.2.1:41022;transport=tcp"},
		{"sip:c@h", "0", "-", "-", "-", "-"},
		{"*", "-", "-", "-", "-", "-"},
		{"tel:+123", "4294967295", "-", "-", "", "-"},
		{"sip:d@h", "-", "", "-", "-", "-"},
		{"sip:unclosed;expires=5", "-", "-", "-", "-", "-"},
		{"sip:e@[2001:db8::1]:5060", "-", "-", "-", "-", "<sip:f;g>"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestMessage_numbers(t *testing.T) {
	tests := []struct {
		header, want string // CSeq, Expires, Retry-After
	}{
		{"CSeq: 0009\r\n  INVITE", "9 INVITE, no, no"},
		{"CSeq: 4294967295 X", "4294967295 X, no, no"},
		{"CSeq: 4294967296 X", "no, no, no"},
		{"CSeq: 36893488147419103232 REGISTER", "no, no, no"},
		{"CSeq: 1", "no, no, no"},
		{"CSeq: 1INVITE", "no, no, no"},
		{"CSeq: INVITE 1", "no, no, no"},
		{"CSeq: -1 INVITE", "no, no, no"},
		{"CSeq: 1 IN VITE", "no, no, no"},
		{"CSeq:", "no, no, no"},
		{"Expires: 60", "no, 60, no"},
		{"Expires: 0", "no, 0, no"},
		{"Expires: 0 0 ;x", "no, 0, no"},
		{"Expires: 1000000000000000000000000000000000000", "no, 4294967295, no"},
		{"Expires: Thu, 01 Dec 1994 16:00:00 GMT", "no, no, no"},
		{"Expires: -1", "no, no, no"},
		{"Retry-After: 18000;duration=3600", "no, no, 18000"},
		{"Retry-After: 120 (I'm in a meeting)", "no, no, 120"},
		{"Retry-After: soon", "no, no, no"},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			m := parse(t, "SIP/2.0 503 x\r\n"+tt.header+"\r\n\r\n")
			got := []string{"no", "no", "no"}
			if n, method, ok := m.CSeq(); ok {
				got[0] = fmt.Sprintf("%d %s", n, method)
			}
			if n, ok := m.Expires(); ok {
				got[1] = fmt.Sprint(n)
			}
			if n, ok := m.RetryAfter(); ok {
				got[2] = fmt.Sprint(n)
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

// Without one of the headers that an answer repeats, a server has nothing to answer to.
func TestMessage_Complete(t *testing.T) {
	headers := []string{"Via: SIP/2.0/UDP h", "From: <sip:f>", "To: <sip:t>", "Call-ID: c", "CSeq: 1 OPTIONS"}
	for i := range headers {
		left := slices.Delete(slices.Clone(headers), i, i+1)
		if m := parse(t, "OPTIONS sip:h SIP/2.0\r\n"+strings.Join(left, "\r\n")+"\r\n\r\n"); m.Complete() {
			t.Errorf("complete without %s", headers[i])
		}
	}
	if m := parse(t, "OPTIONS sip:h SIP/2.0\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"); !m.Complete() {
		t.Error("not complete")
	}
}

// read does what an observer does with a message.
func read(b []byte, m *Message) (octets int) {
	if _, err := Parse(b, m); err != nil {
		return 0
	}
	_, method, _ := m.CSeq()
	octets += len(method) + len(m.CallID()) + len(m.TopViaBranch()) + len(m.FromTag()) + len(m.ToTag())
	for c := range m.Contacts() {
		instance, _ := c.Param("+sip.instance")
		seconds, _ := c.Expires()
		octets += len(c.URI) + len(instance) + int(seconds)
	}
	for value := range m.Headers("Via") {
		octets += len(value)
	}
	return octets + len(m.Header("User-Agent"))
}

func TestParse_allocatesNothing(t *testing.T) {
	var m Message
	in := []byte(register)
	if got := testing.AllocsPerRun(100, func() {
		if read(in, &m) == 0 {
			t.Fatal("nothing read")
		}
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

// A sender who knows how this is written can't make it work longer: quotation marks and brackets that nothing closes cost no more than
// letters. If each were looked for again and again, it would be thousands of times as much.
func TestMessage_workIsBounded(t *testing.T) {
	var m Message
	took := func(value string) time.Duration {
		best := time.Hour
		in := []byte("OPTIONS sip:h SIP/2.0\r\nContact: " + strings.Repeat(value, 60000/len(value)))
		for range 5 {
			start := time.Now()
			read(in, &m)
			best = min(best, time.Since(start))
		}
		return best
	}
	letters := took("abcdefg,")
	for _, value := range []string{"\"\\\",", "<,", "<,\"\\\",", "a;b=\"\\\";", "\\\""} {
		if got := took(value); got > 25*letters {
			t.Errorf("%q takes %v, letters take %v", value, got, letters)
		}
	}
}

// No octets may crash the reader or be changed by it, and whatever it gives out is in the message.
func FuzzParse(f *testing.F) {
	f.Add([]byte(register))
	f.Add([]byte("\r\nSIP/2.0 200\nv:x;branch=z9hG4bK0\nm:\"\\\";<a,b>,<c;d\nl:3\n\nabcdef"))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: a\r\n ;branch = \"\\\r\nv: x\r\n\r\n"))
	f.Add([]byte("OPTIONS sip:h SIP/2.0\r\n: \r\n,;=,;branch=\r\nContact: <\r\n\tm:\"\r\nCSeq: 1\r\n"))
	for _, tt := range torture {
		f.Add([]byte(tt.text))
	}
	var m Message
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		n, err := Parse(in, &m)
		if (err == nil) != (n > 0) || n > len(in) {
			t.Fatalf("takes %d of %d octets, %v", n, len(in), err)
		}
		if err == nil && m.Request == (m.Status != 0) {
			t.Fatalf("request %v, status %d", m.Request, m.Status)
		}
		parts := [][]byte{m.Method, m.URI, m.Body, m.CallID(), m.TopViaBranch(), m.FromTag(), m.ToTag(), m.Header("x"), m.Header("subject")}
		_, method, _ := m.CSeq()
		parts = append(parts, method)
		for c := range m.Contacts() {
			instance, _ := c.Param("+sip.instance")
			parts = append(parts, c.URI, c.Params, instance)
		}
		for _, name := range []string{"Via", "Route", "X", "Supported", ""} {
			for value := range m.Headers(name) {
				parts = append(parts, value)
			}
		}
		for _, part := range parts {
			if !bytes.Contains(in, part) {
				t.Fatalf("%q is not in the message", part)
			}
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the reader changed its input")
		}
		if err == nil { // what it takes is the whole message
			var again Message
			if k, err := Parse(in[:n], &again); err != nil || k != n || !bytes.Equal(again.Body, m.Body) || again.count != m.count {
				t.Fatalf("again it takes %d instead of %d, %v", k, n, err)
			}
		}
	})
}
