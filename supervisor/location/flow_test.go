package location

import "testing"

func TestBinding_Flow(t *testing.T) {
	for _, tt := range []struct {
		b             Binding
		server, phone string // empty: there is none
	}{
		{Binding{Contact: "sip:a@192.0.2.7:40000;transport=tcp", Socket: "tcp:192.0.2.1:5060"}, "192.0.2.1:5060", "192.0.2.7:40000"},
		{Binding{Contact: "sip:a@10.0.0.7;transport=tls", Received: "sip:203.0.113.9:3999;transport=tls", Socket: "tls:192.0.2.1:5061"}, "192.0.2.1:5061", "203.0.113.9:3999"},
		{Binding{Contact: "sip:a@[2001:db8::7]:4000;transport=tcp", Socket: "tcp:[2001:db8::1]:5060"}, "[2001:db8::1]:5060", "[2001:db8::7]:4000"},
		{Binding{Contact: "sip:a@x.invalid;transport=ws", Received: "sip:192.0.2.9:51000;transport=ws", Socket: "ws:192.0.2.1:80"}, "192.0.2.1:80", "192.0.2.9:51000"},
		{Binding{Contact: "sip:a@192.0.2.7;transport=tcp", Socket: "tcp:192.0.2.1:5060"}, "192.0.2.1:5060", "192.0.2.7:5060"},
		{Binding{Contact: "sip:a@192.0.2.7:40000", Socket: "udp:192.0.2.1:5060"}, "", ""},
		{Binding{Contact: "sip:a@192.0.2.7:40000;transport=tcp"}, "", ""},
		{Binding{Contact: "sip:a@host.example;transport=tcp", Socket: "tcp:192.0.2.1:5060"}, "", ""},
	} {
		f, ok := tt.b.Flow()
		if ok != (tt.server != "") || ok && (f.Server.String() != tt.server || f.Phone.String() != tt.phone) {
			t.Errorf("%+v: got %v %t", tt.b, f, ok)
		}
	}
}
