package device

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/understudy-sip/understudy/oos/wire"
)

// Which codes count as an answer (S4-15): by default every final one that proves a SIP stack to be alive.
func TestAnswers(t *testing.T) {
	for code, want := range map[int]bool{
		100: false, 199: false, 200: true, 299: true, 302: true, 401: true, 404: true, 405: true, 407: true, 408: false, 481: true, 483: true,
		486: true, 500: true, 501: true, 503: false, 504: false, 600: true, 699: true, 700: false, 0: false,
	} {
		if got := (Answers{}).Positive(code); got != want {
			t.Errorf("%d: got %v", code, got)
		}
	}
	a, err := ParseAnswers("2xx", " 404", "500-502", "503")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for code := 100; code < 800; code++ {
		if a.Positive(code) != a.Positive(code-1) {
			got = append(got, fmt.Sprint(code))
		}
	}
	if s := strings.Join(got, " "); s != "200 300 404 405 500 504" {
		t.Errorf("got changes at %s", s)
	}
	for _, bad := range []string{"", "199", "700", "1xx", "7xx", "xx", "300-200", "200-", "-200", "2x", "200-2xx", "ok"} {
		if _, err := ParseAnswers(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q is neither", bad)) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// The period is the largest sum of oos-check and oos-force, the latter at least 5 s, over the probed devices (S4-18).
func TestPeriod(t *testing.T) {
	tests := []struct {
		devices []Device
		want    time.Duration
	}{
		{nil, 0},
		{[]Device{{Check: 0, Force: 30 * sec}}, 0},
		{[]Device{{Check: 10 * sec}}, 15 * sec},
		{[]Device{{Check: 10 * sec, Force: 3 * sec}}, 15 * sec},
		{[]Device{{Check: 10 * sec, Force: 3 * sec}, {Check: 8 * sec, Force: 10 * sec}, {Force: 32 * sec}}, 18 * sec},
	}
	for _, tt := range tests {
		if got := Period(tt.devices); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.devices, got, tt.want)
		}
	}
}

func TestSite(t *testing.T) {
	tests := []struct {
		device Device
		want   string // host port transport uri to, or the error
	}{
		{Device{URI: "sip:10.0.0.1"}, "10.0.0.1 5060 udp sip:10.0.0.1 sip:10.0.0.1"},
		{Device{URI: "SIP:gw@example.com:5070;transport=TCP"}, "example.com 5070 tcp SIP:gw@example.com:5070;transport=TCP sip:gw@example.com"},
		{Device{URI: "sip:gw@[2001:db8::1]:5070;lr"}, "2001:db8::1 5070 udp sip:gw@[2001:db8::1]:5070;lr sip:gw@[2001:db8::1]"},
		{Device{URI: "sips:gw@h"}, "h 5061 tls sips:gw@h sips:gw@h"},
		{Device{URI: "sip:gw@h", Transport: TLS}, "h 5061 tls sip:gw@h;transport=tls sip:gw@h"},
		{Device{URI: "sip:gw@h", Addr: "[::1]:9"}, "::1 9 udp sip:gw@h sip:gw@h"},
		{Device{URI: "sip:gw@h:7", Addr: "proxy"}, "proxy 5060 udp sip:gw@h:7 sip:gw@h"},
		{Device{URI: "sip:a;b@h"}, "h 5060 udp sip:a;b@h sip:a;b@h"},
		{Device{URI: "sip:h", Transport: "sctp"}, `unknown transport "sctp"`},
		{Device{URI: "sip:h;transport=ws"}, `unknown transport "ws"`},
		{Device{URI: "sip:h;transport=udp", Transport: TCP}, "contradicts"},
		{Device{URI: "sips:h;transport=udp"}, "not spoken over udp"},
		{Device{URI: "tel:1"}, "neither sip: nor sips:"},
		{Device{URI: "h"}, "neither sip: nor sips:"},
		{Device{URI: "sip:"}, "no host"},
		{Device{URI: "sip:h\r\nX: y"}, "is not allowed"},
		{Device{URI: "sip:<h>"}, "is not allowed"},
		{Device{URI: "sip:h:0"}, `"0" is no port`},
		{Device{URI: "sip:h:"}, `"" is no port`},
		{Device{URI: "sip:h:65536"}, `"65536" is no port`},
		{Device{URI: "sip:[::1"}, "no closing bracket"},
		{Device{URI: "sip:[h]"}, "is no IPv6 address"},
		{Device{URI: "sip:[::1]x"}, "after the address"},
		{Device{URI: "sip:0.0.0.0"}, "no device's address"},
		{Device{URI: "sip:h", Addr: ":5"}, "no host"},
	}
	for _, tt := range tests {
		s, err := tt.device.site()
		got := fmt.Sprint(s.host, " ", s.port, " ", s.transport, " ", s.uri, " ", s.to)
		if err != nil {
			if got = err.Error(); strings.Contains(got, tt.want) {
				continue
			}
		}
		if got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.device, got, tt.want)
		}
	}
}

func TestDevice_Validate(t *testing.T) {
	for want, spoil := range map[string]func(*Device){
		"no name":                       func(d *Device) { d.Name = "" },
		"no host":                       func(d *Device) { d.URI = "sip:" },
		"no TLS configuration":          func(d *Device) { d.URI = "sips:h" },
		"oos-check 5m1s":                func(d *Device) { d.Check = 301 * sec },
		"oos-check 1ms":                 func(d *Device) { d.Check = ms },
		"oos-force 33s":                 func(d *Device) { d.Force = 33 * sec },
		"recovery-timeout -1s":          func(d *Device) { d.Recovery = -sec },
		"oos-options-max-forwards 256":  func(d *Device) { d.MaxForwards = 256 },
		"oos-options-max-forwards -1 i": func(d *Device) { d.MaxForwards = -1 },
		"credentials without a user":    func(d *Device) { d.Credentials = &Credentials{} },
	} {
		d := Device{Name: "gw", URI: "sip:h", Check: sec}
		if err := d.Validate(nil); err != nil {
			t.Fatal(err)
		}
		spoil(&d)
		if err := d.Validate(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := (Device{Name: "gw", URI: "sips:h"}).Validate(&tls.Config{}); err != nil {
		t.Error(err)
	}
}

func TestSchedule(t *testing.T) {
	const n = 100
	s, at := newSchedule(n), make([]time.Duration, n)
	for i := range at {
		at[i] = never
	}
	for range 10000 {
		i := rand.IntN(n)
		at[i] = time.Duration(rand.IntN(1000))
		s.set(int32(i), at[i])
		if thing, first := s.first(); first != slices.Min(at) || at[thing] != first {
			t.Fatalf("got %d at %v, want %v", thing, first, slices.Min(at))
		}
	}
	if _, at := newSchedule(0).first(); at != never {
		t.Errorf("got %v of nothing", at)
	}
}

func testRequest() request {
	p, err := Device{URI: "sip:gw@192.0.2.1:5070"}.site()
	if err != nil {
		panic(err)
	}
	r := newRequest(p, 0, 7)
	r.probe()
	return r
}

// Another stack reads our request, and everything that RFC 3261 8.1.1 wants is there.
func TestRequest(t *testing.T) {
	r := testRequest()
	r.follow()
	b := r.append(nil, "[2001:db8::9]", "[2001:db8::9]:40000", "Authorization: Digest username=\"u\"\r\n")
	m, err := sip.ParseMessage(b)
	if err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	req := m.(*sip.Request)
	if req.Method != sip.OPTIONS || req.Recipient.String() != "sip:gw@192.0.2.1:5070" || strings.Trim(req.Via().Host, "[]") != "2001:db8::9" || req.Via().Port != 40000 ||
		req.MaxForwards().Val() != 0 || req.To().Address.String() != "sip:gw@192.0.2.1" || req.From().Params.Has("tag") != true ||
		req.CSeq().SeqNo != 2 || req.GetHeader("Authorization") == nil || !req.Via().Params.Has("rport") {
		t.Errorf("got:\n%s", b)
	}
	branch, _ := req.Via().Params.Get("branch")
	if m, ok := readMark([]byte(branch)); !ok || !r.is(m) {
		t.Errorf("branch %q is not known again", branch)
	}
}

// Only a whole answer to the newest request counts: its branch, its Call-ID and its CSeq (RFC 3261 17.1.3).
func TestRequest_answeredBy(t *testing.T) {
	r := testRequest()
	r.follow()
	good := string(replyTo(nil, r.append(nil, "h", "h:1", ""), 200, ""))
	older := testRequest()
	older.token = r.token
	counts := func(s string) bool {
		y, ok := wire.ParseReply([]byte(s))
		if !ok {
			return false
		}
		m, ok := readMark(y.Branch)
		return ok && r.is(m) && r.answeredBy(&y)
	}
	if !counts(good) || !counts(strings.ReplaceAll(good, "\r\n", "\n")) || !counts(strings.Replace(good, "2 OPTIONS", "2\tOPTIONS", 1)) {
		t.Fatalf("not known again:\n%s", good)
	}
	for what, s := range map[string]string{
		"an older request":    string(replyTo(nil, older.append(nil, "h", "h:1", ""), 200, "")),
		"another branch":      strings.Replace(good, magic, magic+"0", 1),
		"a branch in capital": strings.Replace(good, string(r.token[:]), strings.ToUpper(string(r.token[:])+"F"), 1),
		"another Call-ID":     strings.Replace(good, "Call-ID: ", "Call-ID: x", 1),
		"no Call-ID":          strings.Replace(good, "Call-ID: ", "X: ", 1),
		"another method":      strings.Replace(good, "2 OPTIONS", "2 INVITE", 1),
		"another number":      strings.Replace(good, "2 OPTIONS", "1 OPTIONS", 1),
		"no CSeq":             strings.Replace(good, "CSeq: ", "X: ", 1),
		"a request":           string(r.append(nil, "h", "h:1", "")),
	} {
		if counts(s) {
			t.Errorf("%s counts:\n%s", what, s)
		}
	}
}

// An ICMP message may quote little of a request: without the whole branch it is not known whose it is (RFC 792, RFC 1812 4.3.2.3).
func TestQuoted(t *testing.T) {
	r := testRequest()
	b := r.append(nil, "h", "h:1", "")
	whole := bytes.Index(b, []byte(";rport"))
	for n := range b {
		if m, ok := quoted(b[:n]); ok != (n >= whole) || ok && !r.is(m) {
			t.Errorf("%d octets: got %v", n, ok)
		}
	}
	if other := testRequest(); true {
		if m, ok := quoted(other.append(nil, "h", "h:1", "")); !ok || r.is(m) {
			t.Error("a request of somebody else counts")
		}
	}
}

func TestReply_allocatesNothing(t *testing.T) {
	r := testRequest()
	in := replyTo(nil, r.append(nil, "h", "h:1", ""), 503, "Retry-After: 5\r\n")
	if got := testing.AllocsPerRun(100, func() {
		y, _ := wire.ParseReply(in)
		if m, ok := readMark(y.Branch); !ok || !r.is(m) || !r.answeredBy(&y) {
			t.Fatal("not ours")
		}
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

func TestReply_retryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"30": 30 * sec, "18000;duration=3600": 18000 * sec, "120 (I'm in a meeting)": 120 * sec, "0": 0, "99999999999999999999999": longestFailure,
		"": -1, "soon": -1, "-5": -1,
	} {
		y, _ := wire.ParseReply([]byte("SIP/2.0 503 x\r\nRetry-After: " + value + "\r\n\r\n"))
		if got, ok := retryAfter(&y); ok != (want >= 0) || (ok && got != want) {
			t.Errorf("%q: got %v, %v", value, got, ok)
		}
	}
	y, _ := wire.ParseReply([]byte("SIP/2.0 200 x\r\nRetry-After: 5\r\n\r\n"))
	if _, ok := retryAfter(&y); ok {
		t.Error("counts with a 200")
	}
}

// A challenge is answered once a probe, and beforehand from then on; each answer is fit for its challenge (RFC 3261 22.4).
func TestLogin(t *testing.T) {
	l := &login{Credentials: Credentials{"us\"er", "pass"}, uri: "sip:gw@h"}
	if got := l.answer(); got != "" {
		t.Errorf("unasked: got %q", got)
	}
	y, _ := wire.ParseReply([]byte("SIP/2.0 407 x\r\nProxy-Authenticate: Basic x=\"y\"\r\nProxy-Authenticate: Digest realm=\"a\", nonce=\"n\", algorithm=AKAv1-MD5\r\n" +
		"proxy-authenticate: Digest realm=\"r\",\r\n nonce=\"n\", algorithm=MD5,\r\n\tqop=\"auth-int, auth\", opaque=\"o\"\r\n\r\n"))
	if err := l.challenged(&y, 1); err != nil {
		t.Fatal(err)
	}
	for count := 1; count <= 2; count++ {
		value, ok := strings.CutPrefix(l.answer(), "Proxy-Authorization: ")
		if !ok || !strings.HasSuffix(value, "\r\n") || strings.Count(value, "\n") != 1 {
			t.Fatalf("got %q", value)
		}
		c, err := digest.ParseCredentials(strings.TrimSpace(value))
		if err != nil {
			t.Fatal(err)
		}
		want, err := digest.Digest(&digest.Challenge{Realm: "r", Nonce: "n", QOP: []string{"auth"}, Algorithm: "MD5", Opaque: "o"},
			digest.Options{Method: "OPTIONS", URI: "sip:gw@h", Count: count, Username: "us\"er", Password: "pass", Cnonce: c.Cnonce})
		if err != nil {
			t.Fatal(err)
		}
		if *c != *want {
			t.Errorf("got %+v, want %+v", c, want)
		}
	}
	if err := l.challenged(&y, 1); err != errRefused {
		t.Errorf("challenged twice in a probe: got %v", err)
	}
	if err := l.challenged(&y, 2); err != nil {
		t.Errorf("a new nonce for the next probe: got %v", err)
	}
	for _, bad := range []string{"Basic realm=\"r\"", "Digest realm=\"r", "Digest nonce=\"" + strings.Repeat("n", longestChallenge) + "\"", "Digest algorithm=X"} {
		y, _ := wire.ParseReply([]byte("SIP/2.0 401 x\r\nWWW-Authenticate: " + bad + "\r\n\r\n"))
		if err := (&login{}).challenged(&y, 1); err == nil {
			t.Errorf("%.30q: got no error", bad)
		}
	}
}

// No octets may crash the reader, and whatever else is in a message, only the newest branch with its Call-ID and CSeq counts.
func FuzzAnswer(f *testing.F) {
	r := testRequest()
	good := replyTo(nil, r.append(nil, "h", "h:1", ""), 200, "")
	f.Add(good)
	f.Add(replyTo(nil, r.append(nil, "h", "h:1", ""), 503, "Retry-After: 5\r\n"))
	f.Add(replyTo(nil, r.append(nil, "h", "h:1", ""), 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n"))
	f.Add(r.append(nil, "h", "h:1", ""))
	f.Add([]byte("SIP/2.0 200\nv:x;branch=z9hG4bK"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A device whose token nobody outside can know: nothing that was made up may count.
		mine := testRequest()
		if m, ok := quoted(b); ok && mine.is(m) {
			t.Fatalf("refusal of a request that was never sent:\n%q", b)
		}
		y, ok := wire.ParseReply(b)
		if !ok {
			return
		}
		_, _ = retryAfter(&y)
		l := &login{Credentials: Credentials{"u", "p"}, uri: "sip:h"}
		if l.challenged(&y, 1) == nil {
			if header := l.answer(); strings.Count(header, "\n") != 1 || !strings.HasSuffix(header, "\r\n") {
				t.Fatalf("a header that is none: %q", header)
			}
		}
		if m, ok := readMark(y.Branch); ok && mine.is(m) {
			t.Fatalf("an answer to a request that was never sent:\n%q", b)
		}
		// And with the token known: the answer has to carry all three.
		if m, ok := readMark(y.Branch); ok && r.is(m) && r.answeredBy(&y) {
			if !bytes.Contains(b, fmt.Appendf(nil, "%s%s", magic, r.token)) || !bytes.Contains(y.CSeq, []byte("OPTIONS")) {
				t.Fatalf("counts:\n%q", b)
			}
		}
	})
}
