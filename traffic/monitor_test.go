package traffic

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// listenUDP takes SIP datagrams on this host, so that nobody answers with ICMP.
func listenUDP(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Every message from the network counts, whatever its source, requests and responses, IPv4, IPv6 and in fragments; keep-alives and
// garbage don't (S4-08, S4-16).
func TestMonitor_UDP(t *testing.T) {
	h := newFar(t)
	for _, a := range []string{here4 + ":5060", service + ":5060", "[" + here6 + "]:5060"} {
		listenUDP(t, a)
	}
	m := run(t, standard())
	start := raw.Clock()
	big := strings.Replace(request("MESSAGE", "big", 1), "Content-Length: 0\r\n\r\n", "Content-Length: 9000\r\n\r\n"+strings.Repeat("x", 9000), 1)
	h.do(t, func() error {
		for _, to := range []string{here4 + ":5060", service + ":5060", "[" + here6 + "]:5060"} {
			err := sendUDP(netip.MustParseAddrPort(to), request("INVITE", "a", 1), request("ACK", "a", 1), response(200, "BYE", "b", 2), big,
				"\r\n\r\n", "\r\n", "", "\x00\x00\x00\x00", "garbage", "INVITE sip:x SIP/2.0\r\n\r\n")
			if err != nil {
				return err
			}
		}
		return nil
	})
	s := settled(t, m, h)
	want := Counts{}
	want.Requests[invite], want.Requests[ack], want.Requests[12], want.Requests[len(Methods)-1] = 3, 3, 3, 1
	want.Responses[1] = 3
	if s.In != want {
		t.Errorf("In: got %+v, want %+v", s.In, want)
	}
	if s.Out.Total() != 0 || s.Local != 0 || s.ParseErrors != 6 || s.KeepAlives != 12 {
		t.Errorf("got %d out, %d local, %d parse errors, %d keep-alives, want 0, 0, 6, 12", s.Out.Total(), s.Local, s.ParseErrors, s.KeepAlives)
	}
	if s.LastIn < start || s.LastIn > raw.Clock() || s.LastOut != 0 {
		t.Errorf("last in at %v, last out at %v, want the first between %v and now, the second never", s.LastIn, s.LastOut, start)
	}
}

// What the host sends to its own addresses is seen once, on lo, and is no sign of life of the network.
func TestMonitor_local(t *testing.T) {
	h := newFar(t)
	listenUDP(t, here4+":5060")
	var seen []Meta
	o := standard()
	o.OnMessage = func(_ *sip.Message, meta Meta) { seen = append(seen, meta) }
	m := run(t, o)
	for range 10 {
		if err := sendUDP(netip.AddrPortFrom(here, 5060), request("OPTIONS", "own", 1)); err != nil {
			t.Fatal(err)
		}
	}
	s := await(t, m, "own probes", func(s Stats) bool { return s.Local >= 10 })
	if s.LastIn != 0 || s.LastOut != 0 || s.Open != 0 {
		t.Errorf("own probes count as traffic: %+v", s)
	}
	s = settled(t, m, h)
	if s.Local != 10 || s.In.Total() != 1 {
		t.Errorf("got %d local and %d from the network, want 10 and 1", s.Local, s.In.Total())
	}
	for i, meta := range seen[:10] {
		if !meta.Local || !meta.In || meta.To.Port() != 5060 || meta.Transport != UDP {
			t.Errorf("message %d: got %+v", i, meta)
		}
	}
}

// Messages in one segment, one over many, over IPv4 and IPv6, both directions, from a connection that was there before (S4-16).
func TestMonitor_TCP(t *testing.T) {
	for _, addr := range []string{here4, here6} {
		t.Run(addr, func(t *testing.T) {
			h := newFar(t)
			at := net.JoinHostPort(addr, "5060")
			l, err := net.Listen("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var client net.Conn
			h.do(t, func() (err error) { client, err = net.Dial("tcp", at); return err })
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			exchange := func(text string) {
				t.Helper()
				if _, err := io.WriteString(client, text); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, len(text))
				if _, err := io.ReadFull(server, b); err != nil || string(b) != text {
					t.Fatalf("got %q, %v", b, err)
				}
			}
			exchange(request("REGISTER", "before", 1)[:100]) // nobody sees the beginning
			m := run(t, standard())
			exchange(request("REGISTER", "before", 1)[100:])
			exchange("\r\n\r\n")
			exchange(request("INVITE", "one", 1) + request("INVITE", "two", 1) + "\r\n" + request("ACK", "two", 1)[:50])
			for _, c := range request("ACK", "two", 1)[50:] {
				exchange(string(c))
			}
			before := raw.Clock()
			many := strings.Repeat(request("BYE", "many", 2), 1000) // super-packets
			exchange(many)
			answers := strings.Repeat(response(200, "BYE", "many", 2), 500)
			if _, err := io.WriteString(server, answers); err != nil {
				t.Fatal(err)
			}
			// What is not read when the connection is closed may not even have been sent.
			if _, err := io.ReadFull(client, make([]byte, len(answers))); err != nil {
				t.Fatal(err)
			}
			client.Close()
			s := await(t, m, "all messages", func(s Stats) bool { return s.In.Requests[2] >= 1000 && s.Out.Responses[1] >= 500 })
			want := Counts{}
			want.Requests[invite], want.Requests[ack], want.Requests[2] = 2, 1, 1000
			if s.In != want || s.Out.Total() != 500 || s.ParseErrors != 0 {
				t.Errorf("got %+v in, %+v out, %d parse errors, want %+v in", s.In, s.Out, s.ParseErrors, want)
			}
			if s.LastIn < before || s.LastOut < before {
				t.Errorf("last in at %v, last out at %v, want both after %v", s.LastIn, s.LastOut, before)
			}
		})
	}
}

// An interface that vanishes is told, and captured again when it is back; the first message after silence is told.
func TestMonitor_interfaceReturns(t *testing.T) {
	h := newFar(t)
	conn := listenUDP(t, here4+":5060")
	events := make(chan Event, 64)
	o := standard()
	o.Silence = 50 * time.Millisecond
	o.Report = func(e Event) { events <- e }
	m := run(t, o)
	expect := func(kind Kind, source string) Event {
		t.Helper()
		select {
		case e := <-events:
			if e.Kind != kind || e.Source != source || (kind == CaptureBroke) != (e.Err != nil) {
				t.Fatalf("got %+v, want %s of %q", e, kind, source)
			}
			return e
		case <-time.After(20 * time.Second):
			t.Fatalf("got no event, want %s", kind)
		}
		return Event{}
	}
	settled(t, m, h)
	if e := expect(Heard, ""); e.After != 0 {
		t.Errorf("first message: got after %v, want 0", e.After)
	}
	for range 2 {
		unplug(t)
		expect(CaptureBroke, wire)
		if m.Snapshot().Capturing {
			t.Error("capturing without interface")
		}
		conn.Close()
		h.plug(t)
		expect(CaptureBack, wire)
		conn = listenUDP(t, here4+":5060")
		time.Sleep(o.Silence)
		settled(t, m, h)
		if e := expect(Heard, ""); e.After < o.Silence {
			t.Errorf("after silence: got after %v, want at least %v", e.After, o.Silence)
		}
	}
	l, err := net.InterfaceByName(wire)
	if err != nil {
		t.Fatal(err)
	}
	setFlags(t, l.Name, 0)
	expect(CaptureBroke, wire)
	setFlags(t, l.Name, unix.IFF_UP)
	expect(CaptureBack, wire)
}

func setFlags(t *testing.T, name string, flags uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	r.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		t.Fatal(err)
	}
}

// An interface that is not there at the start is waited for.
func TestMonitor_interfaceLate(t *testing.T) {
	events := make(chan Event, 8)
	o := standard()
	o.Report = func(e Event) { events <- e }
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, stop := contextWithCancel(t)
	go func() { done <- m.Run(ctx) }()
	if e := <-events; e.Kind != CaptureBroke || e.Source != wire {
		t.Fatalf("got %+v, want that %s broke", e, wire)
	}
	newFar(t)
	if e := <-events; e.Kind != CaptureBack {
		t.Fatalf("got %+v, want that it is back", e)
	}
	await(t, m, "capturing", func(s Stats) bool { return s.Capturing })
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

// Requests that the server answers and such that it does not, seen on the wire.
func TestMonitor_answers(t *testing.T) {
	h := newFar(t)
	conn := listenUDP(t, here4+":5060")
	o := standard()
	o.Patience = 200 * time.Millisecond
	m := run(t, o)
	var client *net.UDPConn
	h.do(t, func() (err error) {
		client, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(here, 5060)))
		return err
	})
	defer client.Close()
	b := make([]byte, 4096)
	ask := func(text string, answers ...string) {
		t.Helper()
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
		_, from, err := conn.ReadFromUDPAddrPort(b)
		for _, a := range answers {
			if err == nil {
				_, err = conn.WriteToUDPAddrPort([]byte(a), from)
			}
			if err == nil {
				_, err = client.Read(b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		id := fmt.Sprintf("good%d", i)
		ask(request("INVITE", id, 1), response(100, "INVITE", id, 1), response(180, "INVITE", id, 1), response(200, "INVITE", id, 1))
		ask(request("INVITE", id, 1), response(200, "INVITE", id, 1)) // sent again
		ask(request("ACK", id, 1))
	}
	for i := range 5 {
		for range 3 {
			ask(request("OPTIONS", fmt.Sprintf("bad%d", i), 1))
		}
	}
	s := await(t, m, "unanswered", func(s Stats) bool { return s.Unanswered == 5 })
	if ratio, ok := s.AnswerRatio(); s.Answered != 10 || s.Open != 0 || s.InvitesAnswered != 10 || !ok || ratio != 10.0/15 {
		t.Errorf("got %+v, ratio %v, want 10 answered, 5 not", s, ratio)
	}
	if s.LastAnswer == 0 || s.LastAnswer > s.LastOut {
		t.Errorf("last answer at %v, last message out at %v", s.LastAnswer, s.LastOut)
	}
}
