package sipserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// serverAddr is where the server under test listens, in the test's own namespace.
const serverAddr = "127.0.0.1:5060"

// watching runs a Server until the test ends and gives what it reports.
func watching(t *testing.T, o Options) (*Server, <-chan Status) {
	t.Helper()
	reports := make(chan Status, 10000)
	o.Report = func(s Status) { reports <- s }
	o.Logger = zap.NewNop()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return s, reports
}

// await returns the first status with a reason and a text that contains some words. What comes at all comes within a minute.
func await(t *testing.T, reports <-chan Status, what string, reason supervisor.Reason, words string) Status {
	t.Helper()
	began, over := time.Now(), time.After(time.Minute)
	var last Status
	for {
		select {
		case last = <-reports:
		case <-over:
			t.Fatalf("%s: not for a minute, the last was %+v", what, last)
		}
		if last.Reason == reason && strings.Contains(last.Text, words) {
			t.Logf("%s: %q %q, %d processes, after %v", what, last.Reason, last.Text, last.Processes, time.Since(began).Round(100*time.Microsecond))
			return last
		}
	}
}

// flush forgets what was reported until now.
func flush(reports <-chan Status) {
	for {
		select {
		case <-reports:
		default:
			return
		}
	}
}

// prober asks the server every 20 ms as package oos does, in a simple way.
type prober struct {
	conn   net.Conn
	answer atomic.Int64 // when the last answer came, by UnixNano
	paused atomic.Bool
}

func probing(t *testing.T, s *Server) *prober { return probingOver(t, s, "udp") }

func probingOver(t *testing.T, s *Server, transport string) *prober {
	t.Helper()
	conn, err := net.Dial(transport, serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	p := &prober{conn: conn}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		p.run(ctx, s)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		conn.Close()
	})
	return p
}

func (p *prober) run(ctx context.Context, s *Server) {
	const silence = 180 * ms
	buf := make([]byte, 4096)
	last, class := time.Now(), supervisor.ClassUnknown
	var told time.Time
	tell := func(c supervisor.Class, refused bool, text string) {
		if c != class || time.Since(told) > 500*ms {
			s.Probed(supervisor.View{Class: c, Text: text}, refused)
			class, told = c, time.Now()
		}
	}
	for n := 1; ctx.Err() == nil; n++ {
		next := time.Now().Add(20 * ms)
		if !p.paused.Load() {
			fmt.Fprintf(p.conn, "OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]d\r\nMax-Forwards: 70\r\n"+
				"From: <sip:test@%[2]s>;tag=1\r\nTo: <sip:%[1]s>\r\nCall-ID: %[3]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
				serverAddr, p.conn.LocalAddr(), n)
		}
		_ = p.conn.SetReadDeadline(next)
		for {
			_, err := p.conn.Read(buf)
			if errors.Is(err, unix.ECONNREFUSED) {
				last = time.Now()
				tell(supervisor.ClassDead, true, "refused")
			} else if err == nil {
				last = time.Now()
				p.answer.Store(last.UnixNano())
				tell(supervisor.ClassServing, false, "200")
			} else {
				break
			}
		}
		if silent := time.Since(last); silent > silence {
			tell(supervisor.ClassDead, false, fmt.Sprintf("no answer for %v", silent.Round(ms)))
		}
		time.Sleep(time.Until(next))
	}
}

var listenUDP = []Socket{{"udp", netip.MustParseAddrPort(serverAddr)}}

// The kernel tells at once that a listening socket is gone, and a new one is found when the probes are answered.
func TestServer_listenerGone(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, addr := range []string{"127.0.0.1:5070", "0.0.0.0:5070", "[::]:5070"} {
			t.Run(transport+" "+addr, func(t *testing.T) {
				stop := listening(t, transport, addr)
				s, reports := watching(t, Options{Listen: []Socket{{transport, netip.MustParseAddrPort("127.0.0.1:5070")}}})
				s.Probed(supervisor.View{Class: supervisor.ClassServing, Text: "200"}, false)
				await(t, reports, "up", "", "200")
				stop()
				await(t, reports, "gone", supervisor.ReasonServerDead, "nothing listens on "+transport+" 127.0.0.1:5070")
				listening(t, transport, addr)
				s.Probed(supervisor.View{Class: supervisor.ClassServing, Text: "200"}, false)
				await(t, reports, "back", "", "200")
			})
		}
	}
}

func listening(t *testing.T, transport, addr string) (stop func()) {
	t.Helper()
	if transport == "udp" {
		c, err := net.ListenPacket(transport, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return func() { c.Close() }
	}
	l, err := net.Listen(transport, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func() { l.Close() }
}

func TestNew_namesProblems(t *testing.T) {
	report := func(Status) {}
	for want, o := range map[string]Options{
		"no logger":           {Report: report},
		"unknown transport":   {Report: report, Logger: zap.NewNop(), Listen: []Socket{{"sctp", netip.MustParseAddrPort(serverAddr)}}},
		"hang after -1s":      {Report: report, Logger: zap.NewNop(), HangAfter: -time.Second},
		"no address with a p": {Report: report, Logger: zap.NewNop(), Listen: []Socket{{"udp", netip.AddrPort{}}}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
