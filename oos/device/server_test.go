package device

import (
	"bytes"
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
)

// replyTo appends the answer of a server to a request: it repeats Via, From, To, Call-ID and CSeq.
func replyTo(to, request []byte, code int, headers string) []byte {
	to = fmt.Appendf(to, "SIP/2.0 %d Whatever\r\n", code)
	for line := range bytes.Lines(request) {
		switch name, _, _ := bytes.Cut(line, []byte(":")); string(name) {
		case "Via", "From", "To", "Call-ID", "CSeq":
			to = append(to, line...)
		}
	}
	return fmt.Appendf(to, "%sContent-Length: 0\r\n\r\n", headers)
}

// server is a SIP server over UDP that answers every request with a code; 0 means not at all.
type server struct {
	conn  *net.UDPConn
	code  atomic.Int32
	asked atomic.Int32
	edit  func(request, answer []byte) []byte // optional; nil is not sent
}

func serve(t *testing.T, addr string, code int32, edit func(request, answer []byte) []byte) *server {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{conn: conn, edit: edit}
	s.code.Store(code)
	var wg sync.WaitGroup
	wg.Go(s.serve)
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return s
}

func (s *server) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.asked.Add(1)
		code := int(s.code.Load())
		if code == 0 {
			continue
		}
		b := replyTo(nil, buf[:n], code, "")
		if s.edit != nil {
			b = s.edit(buf[:n], b)
		}
		if b != nil {
			_, _ = s.conn.WriteToUDPAddrPort(b, from)
		}
	}
}

func (s *server) uri() string { return "sip:device@" + s.conn.LocalAddr().String() }

// watched is a checker that runs until the test ends, and what it reports.
type watched struct {
	*Checker
	t       *testing.T
	reports chan Verdict
}

func quick(name, uri string) Device {
	return Device{Name: name, URI: uri, Check: 200 * ms, Force: sec, MaxForwards: DefaultMaxForwards}
}

// watch runs a checker, active from the start.
func watch(t *testing.T, change func(*Options), devices ...Device) *watched {
	t.Helper()
	w := &watched{t: t, reports: make(chan Verdict, 100000)}
	o := DefaultOptions()
	o.Devices, o.Logger = devices, zap.NewNop()
	o.Report = func(v Verdict) { w.reports <- v }
	if change != nil {
		change(&o)
	}
	var err error
	if w.Checker, err = New(o); err != nil {
		t.Fatal(err)
	}
	w.SetActive(true)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

// await returns the first report of a device in a state with a text that begins so, and fails at one in another state that was not to come.
func (w *watched) await(name string, state State, text string, never ...State) Verdict {
	w.t.Helper()
	began := time.Now()
	last := Verdict{}
	for {
		var v Verdict
		select {
		case v = <-w.reports:
		case <-time.After(time.Minute):
			w.t.Fatalf("nothing new for a minute after %+v while waiting for %s %s %q", last, name, state, text)
		}
		if v.Device != name {
			continue
		}
		last = v
		for _, s := range never {
			if v.State == s {
				w.t.Fatalf("got %+v while waiting for %s %q", v, state, text)
			}
		}
		if v.State == state && strings.HasPrefix(v.Text, text) {
			w.t.Logf("%s %s %q after %v", name, state, v.Text, time.Since(began).Round(ms/10))
			return v
		}
	}
}

// settle waits until something holds.
func settle(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * ms) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
