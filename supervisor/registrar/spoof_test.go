package registrar

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// The server sees the phone's own address and port, by IPv4 and IPv6, and the phone gets the answer.
func TestGeneric_spoof(t *testing.T) {
	for server, phone := range map[string]string{"127.0.0.1:0": "127.0.0.77:31987", "[::1]:0": "[::1]:31988"} {
		t.Run(phone, func(t *testing.T) {
			f := newFakeRegistrar(t, server, nil)
			g := newTestGeneric(t, f.address(), func(o *GenericOptions) { o.Spoof = true })
			handset, err := net.ListenPacket("udp", phone)
			if err != nil {
				t.Fatal(err)
			}
			defer handset.Close()
			b := binding("1001")
			b.Received, b.UserAgent = "sip:"+phone, strings.Repeat("long ", 301) // an odd length, and more than one frame of Ethernet
			err = g.Apply(t.Context(), "1001", []location.Binding{b})
			if err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 1<<16)
			_ = handset.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := handset.ReadFrom(buffer)
			if err != nil || !strings.HasPrefix(string(buffer[:n]), "SIP/2.0 200 OK") {
				t.Fatalf("%v: %.100s", err, buffer[:n])
			}
			r := f.requests()[0]
			if r.from.String() != phone || !strings.HasPrefix(r.headers["Via"], "SIP/2.0/UDP "+phone+";") || r.headers["User-Agent"] != strings.TrimSpace(b.UserAgent)+" " {
				t.Errorf("from %s: %+v", r.from, r.headers)
			}
			if err := g.Apply(t.Context(), "1001", nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "not removed", func() bool {
				got := f.requests()
				return len(got) == 2 && got[1].headers["Expires"] == "0" && got[1].from == r.from
			})
		})
	}
}

// What can't be sent is told; a connection can't be faked and is left alone.
func TestGeneric_spoofImpossible(t *testing.T) {
	f := newFakeRegistrar(t, "127.0.0.1:0", nil)
	g := newTestGeneric(t, f.address(), func(o *GenericOptions) { o.Spoof = true })
	for _, received := range []string{"sip:phone.example.net:5060", "sip:[2001:db8::1]:5060", "x"} {
		b := binding("1001")
		b.Received = received
		if err := g.Apply(t.Context(), "1001", []location.Binding{b}); err == nil {
			t.Error(received)
		}
	}
	tcp := binding("1002")
	tcp.Received = "sip:192.0.2.1:5060;transport=tcp"
	if err := g.Apply(t.Context(), "1002", []location.Binding{tcp}); err != nil || len(f.requests()) != 0 {
		t.Errorf("%v, %d", err, len(f.requests()))
	}
	o := g.options
	o.Credentials = func(string) (string, string) { return "", "" }
	if _, err := NewGeneric(o); err == nil {
		t.Error("credentials without an answer")
	}
}

// RFC 1071: the checksum over the pseudo-header and the datagram, the checksum included, is all ones.
func TestPackets_checksum(t *testing.T) {
	for _, payload := range []string{"", "x", "ab", strings.Repeat("\xff", 60000)} {
		for _, at := range [][2]string{{"192.0.2.1:5060", "198.51.100.7:65535"}, {"[2001:db8::1]:1", "[::1]:5060"}} {
			from, to := netip.MustParseAddrPort(at[0]), netip.MustParseAddrPort(at[1])
			head, packet := ipv4Header, []byte(nil)
			if from.Addr().Is4() {
				packet = ipv4Packet(from.Addr(), to.Addr(), unix.IPPROTO_UDP, udpDatagram(from, to, []byte(payload)))
			} else {
				head, packet = ipv6Header, ipv6Packet(from.Addr(), to.Addr(), unix.IPPROTO_UDP, udpDatagram(from, to, []byte(payload)))
			}
			sum := checksum(checksum(0, from.Addr().AsSlice()), to.Addr().AsSlice()) + unix.IPPROTO_UDP + uint32(len(packet)-head)
			sum = checksum(sum, packet[head:])
			for sum>>16 != 0 {
				sum = sum&0xffff + sum>>16
			}
			if sum != 0xffff || len(packet) != head+udpHeader+len(payload) {
				t.Errorf("%s, %d octets: %x", at, len(payload), sum)
			}
		}
	}
}
