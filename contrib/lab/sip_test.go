package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func testRequest(method, lines string) request {
	return request{method: method, target: ServiceAddress, from: netip.MustParseAddrPort("10.77.2.20:4321"), serial: 0xabc, user: "ann", lines: lines}
}

// The embedded server's answer belongs to the request, tells who answered and how the request came (RFC 3261 8.2.6, RFC 3581).
func TestSIPD_answersOptions(t *testing.T) {
	s := &sipd{name: MemberB}
	msg := s.answer(testRequest("OPTIONS", "").append(nil), netip.MustParseAddrPort("10.77.2.20:999"))
	got, ok := parseAnswer(msg)
	if want := (answer{code: 200, serial: 0xabc, server: "b"}); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	for _, want := range []string{";received=10.77.2.20;rport=999\r\n", "To: <sip:ann@10.77.2.10>;tag=sipd\r\n", "CSeq: 1 OPTIONS\r\n"} {
		if !strings.Contains(string(msg), want) {
			t.Errorf("the answer lacks %q:\n%s", want, msg)
		}
	}
}

func TestSIPD_ignoresWhatIsNoRequest(t *testing.T) {
	s := &sipd{name: MemberA}
	for _, msg := range []string{"", "\r\n\r\n", "\x00\x01", "OPTIONS", "SIP/2.0 200 OK\r\n\r\n", "ACK sip:x SIP/2.0\r\n\r\n"} {
		if got := s.answer([]byte(msg), netip.AddrPort{}); got != nil {
			t.Errorf("%q was answered: %s", msg, got)
		}
	}
}

func TestSIPD_registers(t *testing.T) {
	s := &sipd{name: MemberA, bindings: map[string]map[string]time.Time{}}
	now := time.Now()
	steps := []struct {
		lines  string
		after  time.Duration
		status string
		want   string
	}{
		{"Contact: <sip:ann@192.0.2.1>;expires=60\r\n", 0, "200 OK", "Contact: <sip:ann@192.0.2.1>;expires=60\r\n"},
		{"", 20 * time.Second, "200 OK", "Contact: <sip:ann@192.0.2.1>;expires=40\r\n"},
		{"", 60 * time.Second, "200 OK", ""},
		{"Contact: sip:ann@192.0.2.2\r\nExpires: 30\r\n", 60 * time.Second, "200 OK", "Contact: <sip:ann@192.0.2.2>;expires=30\r\n"},
		{"Contact: <sip:ann@192.0.2.2>;expires=0\r\n", 61 * time.Second, "200 OK", ""},
		{"Contact: <sip:ann@192.0.2.3>\r\n", 61 * time.Second, "200 OK", "Contact: <sip:ann@192.0.2.3>;expires=3600\r\n"},
		{"Contact: *\r\nExpires: 0\r\n", 62 * time.Second, "200 OK", ""},
		{"Contact: <sip:ann@192.0.2.3>;expires=soon\r\n", 62 * time.Second, "400 Bad Request", ""},
		{"Contact: <sip:ann@192.0.2.3>;expires=-1\r\n", 62 * time.Second, "400 Bad Request", ""},
	}
	for i, step := range steps {
		status, lines := s.register(testRequest("REGISTER", step.lines).append(nil), now.Add(step.after))
		if status != step.status || lines != step.want {
			t.Errorf("step %d: got %q, %q, want %q, %q", i, status, lines, step.status, step.want)
		}
	}
}

func TestParseAnswer_refuses(t *testing.T) {
	for _, msg := range []string{
		"", "SIP/2.0 ", "SIP/2.0 abc OK\r\nCall-ID: 1@lab\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n", "SIP/2.0 200 OK\r\nCall-ID: nobody\r\n\r\n",
		"SIP/2.0 200 OK\r\nCall-ID: xyz@lab\r\n\r\n", "OPTIONS sip:x SIP/2.0\r\nCall-ID: 1@lab\r\n\r\n", "SIP/2.0 200 OK\r\n\r\nCall-ID: 1@lab\r\n",
	} {
		if got, ok := parseAnswer([]byte(msg)); ok {
			t.Errorf("%q was understood: %+v", msg, got)
		}
	}
}
