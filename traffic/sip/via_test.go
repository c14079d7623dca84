package sip

import "testing"

// Vias as servers accept them (RFC 3261 20.42, 25.1; RFC 4475).
func TestMessage_TopVia(t *testing.T) {
	for in, want := range map[string][2]string{
		"SIP/2.0/UDP 192.0.2.7:5062;branch=x":                {"UDP", "192.0.2.7:5062"},
		"SIP / 2.0\r\n /  TCP \t h.example : 5060 ;branch=x": {"TCP", "h.example : 5060"},
		"SIP/2.0/WSS [fd77::2]:5060 ;rport, SIP/2.0/UDP h":   {"WSS", "[fd77::2]:5060"},
		"SIP/2.0/TLS h\r\nVia: SIP/2.0/UDP second":           {"TLS", "h"},
		"SIP/2.0/UDP": {}, "SIP/2.0": {}, "SIP/2.0/UDP ;branch=x": {}, "": {}, "SIP/2.0/ h": {"", ""},
	} {
		var m Message
		if _, err := Parse([]byte("REGISTER sip:h SIP/2.0\r\nv: "+in+"\r\n\r\n"), &m); err != nil {
			t.Fatal(err)
		}
		if transport, sentBy := m.TopVia(); string(transport) != want[0] || string(sentBy) != want[1] {
			t.Errorf("%q: got %q, %q, want %q", in, transport, sentBy, want)
		}
	}
	var empty Message
	if transport, sentBy := empty.TopVia(); transport != nil || sentBy != nil {
		t.Errorf("no Via: got %q, %q", transport, sentBy)
	}
}
