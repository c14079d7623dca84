package traffic

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// book are the bindings that a monitor has learned of.
type book struct {
	*Monitor
	told chan location.Registration
	of   map[string][]location.Binding
}

// learnOf runs a monitor that learns.
func learnOf(t *testing.T, o Options) *book {
	t.Helper()
	b := &book{told: make(chan location.Registration, 1024), of: map[string][]location.Binding{}}
	o.Registered = func(r location.Registration) { b.told <- r }
	b.Monitor = run(t, o)
	return b
}

// next waits for a registration.
func (b *book) next(t *testing.T) location.Registration {
	t.Helper()
	select {
	case r := <-b.told:
		b.of[r.AOR] = location.Merge(b.of[r.AOR], r, r.At)
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no registration was learned")
	}
	return location.Registration{}
}

// no fails if there was one.
func (b *book) no(t *testing.T, why string) {
	t.Helper()
	if len(b.told) > 0 {
		t.Errorf("%s: learned %+v", why, <-b.told)
	}
}

// udpPair gives a socket of a phone on the far host and one of a server on this one.
func udpPair(t *testing.T, h far, server, phone string) (serverSide, phoneSide *net.UDPConn) {
	t.Helper()
	serverSide = listenUDP(t, server)
	h.do(t, func() (err error) {
		phoneSide, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(phone)))
		return err
	})
	t.Cleanup(func() { phoneSide.Close() })
	return serverSide, phoneSide
}

// Registrations as they pass the interfaces: UDP, TCP, IPv4 and IPv6, a REGISTER in fragments. What somebody else on the network says about
// them changes nothing.
func TestMonitor_registrations(t *testing.T) {
	contact := "Contact: <sip:bob@192.168.1.2:5060>;expires=60"
	for here, phone := range map[string]string{here4 + ":5060": there4 + ":40000", "[" + here6 + "]:5060": "[" + there6 + "]:40000", service + ":5060": there4 + ":40000"} {
		t.Run("UDP "+here, func(t *testing.T) {
			h := newFar(t)
			server, client := udpPair(t, h, here, phone)
			third := strings.Replace(phone, "40000", "5999", 1)
			var forger *net.UDPConn
			h.do(t, func() (err error) {
				forger, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(third)))
				return err
			})
			defer forger.Close()
			b := learnOf(t, standard())
			send := func(conn *net.UDPConn, to, text string) {
				t.Helper()
				if _, err := conn.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); err != nil {
					t.Fatal(err)
				}
			}
			long := "User-Agent: " + strings.Repeat("x", location.MaxField+1)
			ask := registerText("id", 1, contact, "Supported: "+strings.Repeat("path,", 1000)) // in fragments
			yes := registeredText(200, "id", 1, contact)
			send(server, phone, yes) // before it was asked
			send(client, here, ask)
			send(forger, here, yes)
			send(server, third, yes)
			if to, us := netip.MustParseAddrPort(phone), netip.MustParseAddrPort(here); us.Addr().Is4() { // with the server's address as its source
				h.inject(t, ether(unix.ETH_P_IP, ip(us.Addr(), to.Addr(), unix.IPPROTO_UDP, nil, udp(5060, to.Port(), yes))),
					ether(unix.ETH_P_IP, ip(us.Addr(), us.Addr(), unix.IPPROTO_UDP, nil, udp(5060, 5060, yes))))
			}
			settled(t, b.Monitor, h)
			b.no(t, "forged")
			send(server, phone, registeredText(100, "id", 1))
			send(server, phone, yes)
			r := b.next(t)
			if want := "sip:" + phone; r.AOR != "bob@example.net" || r.Received != want || r.Socket != "udp:"+here || len(r.Granted) != 1 {
				t.Errorf("got %+v, want it from %s", r, want)
			}
			send(client, here, registerText("id", 2, contact, long))
			settled(t, b.Monitor, h)
			send(server, phone, registeredText(200, "id", 2, contact))
			await(t, b.Monitor, "refused", func(s Stats) bool { return s.RegistrationsRefused == 1 })
			b.no(t, "too long")
		})
	}
	for here, phone := range map[string]string{here4 + ":5060": there4, "[" + here6 + "]:5060": "[" + there6 + "]"} {
		t.Run("TCP "+here, func(t *testing.T) {
			h := newFar(t)
			l, err := net.Listen("tcp", here)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var client net.Conn
			b := learnOf(t, standard())
			h.do(t, func() (err error) { client, err = net.Dial("tcp", here); return err })
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			for i := range 3 {
				ask := registerText("id", i, contact)
				for _, part := range []string{ask[:50], ask[50:]} {
					if _, err := io.WriteString(client, part); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := io.ReadFull(server, make([]byte, len(ask))); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(server, registeredText(200, "id", i, contact)); err != nil {
					t.Fatal(err)
				}
				r := b.next(t)
				if want := "sip:" + client.LocalAddr().String() + ";transport=tcp"; r.CSeq != uint32(i) || r.Received != want || r.Transport != "tcp" {
					t.Errorf("got %+v, want number %d from %s, %s", r, i, want, phone)
				}
			}
		})
	}
}

// What is encrypted on the wire comes by HEP.
func TestMonitor_registrationsByHEP(t *testing.T) {
	newFar(t)
	o := standard()
	o.HEP = netip.MustParseAddrPort("127.0.0.1:9062")
	b := learnOf(t, o)
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(o.HEP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	contact := "Contact: <sips:bob@10.77.0.2:5061>;expires=60"
	phone, server := there4+":40000", here4+":5061"
	for _, p := range [][]byte{
		hep3(22, phone, server, registerText("id", 1, contact)),
		hep3(22, phone, server, registeredText(200, "id", 1, contact)),
		hep3(22, server, there4+":40001", registeredText(200, "id", 1, contact)),
		hep3(22, server, phone, registeredText(200, "id", 1, contact)),
	} {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.next(t); r.Transport != "tls" || r.Received != "sip:"+phone+";transport=tls" || r.Socket != "tls:"+server {
		t.Errorf("got %+v", r)
	}
	b.no(t, "once more")
}

const registrarConfig = `
debug=0
log_stderror=yes
children=2
tcp_children=2
dns=no
rev_dns=no
listen=udp:10.77.0.1:5060
listen=tcp:10.77.0.1:5060
loadmodule "sl.so"
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "path.so"
loadmodule "nathelper.so"
loadmodule "jsonrpcs.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "use_domain", 1)
modparam("usrloc", "nat_bflag", 6)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)
modparam("registrar|nathelper", "received_avp", "$avp(source)")
modparam("registrar", "max_expires", 900)
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "SOCKET")
request_route {
	if (!is_method("REGISTER")) { exit; }
	if ($au == $null && is_present_hf("X-Challenge")) { sl_send_reply("401", "Unauthorized"); exit; }
	if (nat_uac_test("18") && !is_present_hf("Path")) { fix_nated_register(); setbflag(6); }
	if (!save("location")) { sl_reply_error(); }
}
`

// lookUp asks Kamailio for the bindings of an address of record; moments of expiry are those of raw.Clock.
func lookUp(t *testing.T, socket, aor string) []location.Binding {
	t.Helper()
	own := filepath.Join(t.TempDir(), "own")
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"}, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, `{"jsonrpc":"2.0","method":"ul.lookup","params":["location","%s"],"id":1}`, aor); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 1<<16)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	var reply struct {
		Result struct {
			Contacts []struct{ Contact map[string]any }
		}
	}
	if err := json.Unmarshal(b[:n], &reply); err != nil {
		t.Fatalf("%v in %s", err, b[:n])
	}
	var all []location.Binding
	for _, c := range reply.Result.Contacts {
		text := func(name string) string {
			s, _ := c.Contact[name].(string)
			return strings.TrimPrefix(s, "[not set]")
		}
		number := func(name string) float64 {
			f, _ := c.Contact[name].(float64)
			return f
		}
		q := location.NoQ
		if f := number("Q"); f >= 0 {
			q = int(f*1000 + 0.5)
		}
		all = append(all, location.Binding{
			Contact: text("Address"), Q: q, CallID: text("Call-ID"), CSeq: uint32(number("CSeq")), UserAgent: text("User-Agent"),
			Received: text("Received"), Path: text("Path"), Socket: text("Socket"), Instance: text("Instance"), RegID: uint32(number("Reg-Id")),
			Expires: raw.Clock() + time.Duration(number("Expires"))*time.Second,
		})
	}
	return all
}

// What is learned of a real registrar's answers is what it has: NAT, Path, several contacts, refreshes, removals, over UDP and TCP.
func TestMonitor_registrationsOfKamailio(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			h := newFar(t)
			socket := filepath.Join(t.TempDir(), "rpc")
			runKamailio(t, strings.Replace(registrarConfig, "SOCKET", socket, 1))
			b := learnOf(t, standard())
			var conns [2]net.Conn
			var readers [2]*bufio.Reader
			for i := range conns {
				h.do(t, func() (err error) { conns[i], err = net.Dial(transport, here4+":5060"); return err })
				defer conns[i].Close()
				readers[i] = bufio.NewReaderSize(conns[i], 1<<16)
			}
			own := func(i int) string { return conns[i].LocalAddr().String() }
			say := func(i int, text string, status int) {
				t.Helper()
				text = strings.Replace(text, "SIP/2.0/UDP", "SIP/2.0/"+strings.ToUpper(transport), 1)
				text = strings.Replace(text, "Max-Forwards", "User-Agent: Phone 1.0\r\nMax-Forwards", 1)
				if _, err := io.WriteString(conns[i], text); err != nil {
					t.Fatal(err)
				}
				_ = conns[i].SetReadDeadline(time.Now().Add(20 * time.Second))
				line, err := readers[i].ReadString('\n')
				if err != nil || !strings.Contains(line, fmt.Sprint(status)) {
					t.Fatalf("got %q, %v, want %d", line, err, status)
				}
				for err == nil && strings.TrimSpace(line) != "" {
					line, err = readers[i].ReadString('\n')
				}
			}
			direct := func(i int, text string) string {
				return strings.Replace(text, "10.77.0.2:5060;branch", own(i)+";branch", 1)
			}
			natted := func(text string) string {
				return strings.Replace(text, "10.77.0.2:5060;branch", "192.168.1.2:5070;rport;branch", 1)
			}
			check := func(what string, number int) {
				t.Helper()
				b.next(t)
				got, want := b.of["bob@example.net"], lookUp(t, socket, "bob@example.net")
				if len(got) != len(want) || len(got) != number {
					t.Fatalf("%s: learned %+v, Kamailio has %+v, want %d", what, got, want, number)
				}
				for i := range want {
					found := false
					for _, x := range got {
						x.Methods = 0
						found = found || x.Same(&want[i])
					}
					if !found {
						t.Errorf("%s: learned %+v,\nKamailio has %+v", what, got, want[i])
					}
				}
			}
			contact := func(user, at string) string { return "<sip:" + user + "@" + at + ";transport=" + transport + ">" }
			say(0, direct(0, registerText("one", 1, "Contact: "+contact("a", own(0)), "X-Challenge: yes")), 401)
			say(0, direct(0, registerText("one", 2, "Contact: "+contact("a", own(0))+";q=0.5", "Expires: 600")), 200)
			check("the first", 1)
			say(1, natted(registerText("two", 1, "Contact: "+contact("b", "192.168.1.2:5070")+`;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";reg-id=1`, "Supported: gruu, outbound")), 200)
			check("behind a NAT", 2)
			say(0, direct(0, registerText("one", 3, "Contact: "+contact("a", own(0))+";expires=100000")), 200)
			check("a refresh", 2)
			via := strings.Replace(registerText("three", 1, "Contact: "+contact("c", "192.168.1.3")+";expires=70, "+contact("d", "192.168.1.3"), "Supported: path", "Path: <sip:10.77.0.2;lr>,<sip:10.77.0.3;lr>"),
				"Max-Forwards", "Via: SIP/2.0/UDP 192.168.1.3;branch=z9hG4bKphone\r\nMax-Forwards", 1)
			say(0, direct(0, via), 200)
			check("two through proxies", 4)
			say(1, natted(registerText("two", 2, "Contact: "+contact("b", "192.168.1.2:5070")+`;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";reg-id=1;expires=0`)), 200)
			check("one is removed", 3)
			say(0, direct(0, registerText("four", 1)), 200)
			check("it is asked", 3)
			say(0, direct(0, registerText("five", 1, "Contact: *", "Expires: 0")), 200)
			check("all are removed", 0)
			b.no(t, "in the end")
		})
	}
}
