package oos

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// said is one report.
type said struct {
	name string
	view supervisor.View
}

// probing runs a prober until the test ends and gives what it reports.
func probing(t *testing.T, targets ...Target) (*Prober, <-chan said) {
	t.Helper()
	reports := make(chan said, 10000)
	return probingWith(t, func(name string, v supervisor.View) { reports <- said{name, v} }, targets...), reports
}

func probingWith(t *testing.T, report func(string, supervisor.View), targets ...Target) *Prober {
	t.Helper()
	p, err := New(Options{Targets: targets, Report: report, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return p
}

// await returns the first report with a class and a text that begins so, and fails at one that was not to come.
func await(t *testing.T, reports <-chan said, class supervisor.Class, text string, never ...supervisor.Class) supervisor.View {
	t.Helper()
	began := time.Now()
	var last said
	for {
		select {
		case last = <-reports:
		case <-time.After(time.Minute):
			t.Fatalf("nothing new for a minute after %+v while waiting for %s", last, class)
		}
		for _, c := range never {
			if last.view.Class == c {
				t.Fatalf("got %+v while waiting for %s", last.view, class)
			}
		}
		if last.view.Class == class && strings.HasPrefix(last.view.Text, text) {
			t.Logf("%s %q after %v", class, last.view.Text, time.Since(began).Round(100*time.Microsecond))
			return last.view
		}
	}
}

// server is a SIP server over UDP that answers every request with a code; 0 means not at all.
type server struct {
	conn *net.UDPConn
	code atomic.Int32
	edit func([]byte) []byte // optional, of each answer
}

func serveUDP(t *testing.T, addr string, code int32) *server { return serveEdited(t, addr, code, nil) }

func serveEdited(t *testing.T, addr string, code int32, edit func([]byte) []byte) *server {
	t.Helper()
	a := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{conn: conn, edit: edit}
	s.code.Store(code)
	go s.serve()
	t.Cleanup(func() { conn.Close() })
	return s
}

func (s *server) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if code := int(s.code.Load()); code != 0 {
			b := replyTo(buf[:n], code)
			if s.edit != nil {
				b = s.edit(b)
			}
			_, _ = s.conn.WriteToUDPAddrPort(b, from)
		}
	}
}

func (s *server) addr() netip.AddrPort { return netip.MustParseAddrPort(s.conn.LocalAddr().String()) }

func target(addr netip.AddrPort, transport Transport) Target {
	return Target{Name: "own", Addr: addr, Transport: transport, Interval: 20 * ms, Silence: 200 * ms}
}

func TestProber_UDP(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			s := serveUDP(t, listen, 200)
			addr := s.addr()
			_, reports := probing(t, target(addr, UDP))
			await(t, reports, supervisor.ClassServing, "200 in ")
			s.code.Store(503)
			await(t, reports, supervisor.ClassDraining, "503 in ")
			s.code.Store(0)
			v := await(t, reports, supervisor.ClassDead, "no answer for 2")
			if Refused(v) || v.Code != 0 {
				t.Errorf("got %+v", v)
			}
			s.code.Store(486)
			await(t, reports, supervisor.ClassServing, "486 in ")
			s.conn.Close()
			if v := await(t, reports, supervisor.ClassDead, "refused"); !Refused(v) {
				t.Errorf("got %+v", v)
			}
			serveUDP(t, addr.String(), 200)
			await(t, reports, supervisor.ClassServing, "200 in ")
		})
	}
}

// Answers that are not to our probes prove nothing, from wherever they come.
func TestProber_strangeAnswers(t *testing.T) {
	s := serveEdited(t, "127.0.0.1:0", 200, func(b []byte) []byte {
		return []byte(strings.ReplaceAll(string(b), magic, magic+"f"))
	})
	_, reports := probing(t, target(s.addr(), UDP))
	await(t, reports, supervisor.ClassDead, "no answer", supervisor.ClassServing)
}

// A loop that could not run must not blame the target: here it is held up in a report while the server is away.
func TestProber_lateIsNoSilence(t *testing.T) {
	s := serveUDP(t, "127.0.0.1:0", 200)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	reports := make(chan said, 10000)
	probingWith(t, func(name string, v supervisor.View) {
		once.Do(func() {
			s.code.Store(0)
			close(held)
			<-release
		})
		reports <- said{name, v}
	}, target(s.addr(), UDP))
	<-held
	time.Sleep(600 * ms) // three times the silence that means death
	s.code.Store(404)
	close(release)
	for got := (supervisor.View{}); got.Code != 404; {
		if got = (<-reports).view; got.Class == supervisor.ClassDead {
			t.Fatalf("got %+v", got)
		}
	}
}

// Trouble on this side says nothing about the target, and the text names it.
func TestProber_cannotAsk(t *testing.T) {
	s := serveUDP(t, "127.0.0.1:0", 200)
	for _, transport := range []Transport{UDP, TCP} {
		to := target(s.addr(), transport)
		to.From = netip.MustParseAddr("203.0.113.77")
		_, reports := probing(t, to)
		await(t, reports, supervisor.ClassUnknown, "cannot ask: cannot assign requested address", supervisor.ClassDead)
	}
}

func TestProber_from(t *testing.T) {
	from := make(chan string, 1000)
	s := serveEdited(t, "127.0.0.1:0", 200, func(b []byte) []byte {
		from <- string(b)
		return b
	})
	to := target(s.addr(), UDP)
	to.From = netip.MustParseAddr("127.0.0.9")
	_, reports := probing(t, to)
	await(t, reports, supervisor.ClassServing, "200")
	if got := <-from; !strings.Contains(got, "SIP/2.0/UDP 127.0.0.9:") {
		t.Errorf("got %s", got)
	}
}

func TestProber_SetTargets(t *testing.T) {
	a, b := serveUDP(t, "127.0.0.1:0", 200), serveUDP(t, "127.0.0.1:0", 200)
	first, second := target(a.addr(), UDP), target(b.addr(), UDP)
	first.Name, second.Name = "a", "b"
	p, reports := probing(t, first)
	await(t, reports, supervisor.ClassServing, "200")
	if err := p.SetTargets([]Target{first, second}); err != nil {
		t.Fatal(err)
	}
	for r := range reports {
		if r.name == "b" && r.view.Class == supervisor.ClassServing {
			break
		}
	}
	if err := p.SetTargets([]Target{second}); err != nil {
		t.Fatal(err)
	}
	for r := range reports {
		if r.name == "a" && r.view == (supervisor.View{Class: supervisor.ClassUnknown, Text: "not probed"}) {
			break
		}
	}
	if err := p.SetTargets([]Target{first, first}); err == nil {
		t.Error("two targets of one name: got no error")
	}
}

func TestNew_namesProblems(t *testing.T) {
	good := target(netip.MustParseAddrPort("127.0.0.1:5060"), UDP)
	if _, err := New(Options{Targets: []Target{good}}); err == nil {
		t.Error("no logger: got no error")
	}
	tests := map[string]func(*Target){
		"no name":                func(t *Target) { t.Name = "" },
		"no address with a port": func(t *Target) { t.Addr = netip.AddrPort{} },
		"is no address":          func(t *Target) { t.Addr = netip.MustParseAddrPort("0.0.0.0:5060") },
		"of different families":  func(t *Target) { t.From = netip.MustParseAddr("::1") },
		"unknown transport":      func(t *Target) { t.Transport = "sctp" },
		"no TLS configuration":   func(t *Target) { t.Transport = TLS },
		"at least the interval":  func(t *Target) { t.Silence = t.Interval / 2 },
		"interval 0s, and both":  func(t *Target) { t.Interval = 0 },
		"rise -1":                func(t *Target) { t.Rise = -1 },
	}
	for want, spoil := range tests {
		bad := good
		spoil(&bad)
		_, err := New(Options{Targets: []Target{bad}, Report: func(string, supervisor.View) {}, Logger: zap.NewNop()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
