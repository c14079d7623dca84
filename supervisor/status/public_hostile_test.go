package status

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// listen runs Public on a loopback port for one test.
func listen(t *testing.T, p *Public) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// asked sends a request and gives the status of the answer, 0 if the connection ended without one.
func asked(conn net.Conn, request string) int {
	if _, err := io.WriteString(conn, request); err != nil {
		return 0
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

const probe = "GET /primary HTTP/1.1\r\nHost: a\r\n\r\n"

// One address that takes all the connections it can get does not keep another from asking.
func TestPublic_crowd(t *testing.T) {
	addr := listen(t, public(t, newFake()))
	held := 0
	for range publicFromOne + 20 {
		if asked(dial(t, "127.0.0.2", addr), probe) == http.StatusOK {
			held++
		}
	}
	if held != publicFromOne {
		t.Errorf("%d connections from one address, want %d", held, publicFromOne)
	}
	if got := asked(dial(t, "127.0.0.3", addr), probe); got != http.StatusOK {
		t.Errorf("another address got %d", got)
	}
}

// A full house refuses at once and lets in again when somebody has left.
func TestGate_all(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	g := newGate(listener, 3, 2, func() { refused.Add(1) })
	accepted := make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for {
			conn, err := g.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	to := listener.Addr().String()
	dial(t, "127.0.0.2", to)
	first := <-accepted
	dial(t, "127.0.0.3", to)
	second := <-accepted
	dial(t, "127.0.0.4", to)
	third := <-accepted
	if got := asked(dial(t, "127.0.0.5", to), probe); got != 0 || refused.Load() != 1 {
		t.Errorf("the fourth got %d, refused %d", got, refused.Load())
	}
	first.Close()
	first.Close() // counts once
	dial(t, "127.0.0.5", to)
	fourth := <-accepted
	if got := asked(dial(t, "127.0.0.6", to), probe); got != 0 || refused.Load() != 2 {
		t.Errorf("the fifth got %d, refused %d", got, refused.Load())
	}
	for _, conn := range []net.Conn{second, third, fourth} {
		conn.Close()
	}
	listener.Close()
	for range accepted {
		t.Error("one more")
	}
	if g.open != 0 || len(g.from) != 0 {
		t.Errorf("after all have gone: %d open, %v", g.open, g.from)
	}
}

// Clients that send or read slowly, or too much, are cut off; meanwhile others are served.
func TestPublic_hostileClients(t *testing.T) {
	daemon := newFake()
	addr := listen(t, public(t, daemon))
	crawling := dial(t, "127.0.0.2", addr)
	if _, err := io.WriteString(crawling, "GET /primary HTTP/1.1\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if got := asked(dial(t, "127.0.0.2", addr), "GET /primary HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 4*maxHeader)+"\r\n\r\n"); got != 431 {
		t.Errorf("huge header: got %d, want 431", got)
	}
	if got := asked(dial(t, "127.0.0.2", addr), "GET /"+strings.Repeat("x", 4*maxHeader)+" HTTP/1.1\r\nHost: a\r\n\r\n"); got != 431 {
		t.Errorf("huge path: got %d, want 431", got)
	}
	if got := asked(dial(t, "127.0.0.2", addr), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"); got != 400 {
		t.Errorf("TLS: got %d, want 400", got)
	}
	// The body is not read: the answer comes before it, and the connection ends.
	body := dial(t, "127.0.0.2", addr)
	if got := asked(body, "GET /primary HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nabc"); got != http.StatusOK {
		t.Errorf("endless body: got %d", got)
	}
	if _, err := io.Copy(io.Discard, body); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after the endless body: %v", err)
	}
	if got := asked(dial(t, "127.0.0.2", addr), probe); got != http.StatusOK {
		t.Errorf("in between: got %d", got)
	}
	if rest, err := io.ReadAll(crawling); err != nil && !strings.Contains(err.Error(), "reset") { // within readTimeout, or the deadline fails it
		t.Errorf("crawling: %q, %v", rest, err)
	}
}

// What clients cause is logged at most once a second.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, seen := watched()
		w := &trickle{log: log, rate: rate{n: 1}}
		for range 3000 {
			if n, err := w.Write([]byte("http: nonsense\n")); n != 15 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(time.Millisecond)
		}
		if got := seen.Len(); got != 3 {
			t.Errorf("%d lines in 3 s", got)
		}
	})
}

// The daemon stops while clients hold on, whatever they are in the middle of.
func TestPublic_stopsWhileClientsHoldOn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- public(t, newFake()).Run(ctx, listener) }()
	addr := listener.Addr().String()
	idle, half, silent := dial(t, "127.0.0.2", addr), dial(t, "127.0.0.3", addr), dial(t, "127.0.0.4", addr)
	if asked(idle, probe) != http.StatusOK {
		t.Fatal("not served")
	}
	if _, err := io.WriteString(half, "GET /primary HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	for name, conn := range map[string]net.Conn{"idle": idle, "half": half, "silent": silent} {
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") { // the deadline fails it
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A listener that cannot be served is an error, not a quiet end.
func TestPublic_deadListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := public(t, newFake()).Run(t.Context(), listener); err == nil {
		t.Error("no error")
	}
}

// All addresses of an IPv6 network are one client: a host there has as many as it likes.
func TestAddrOf(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:2::9": "2001:db8:1:2::",
	} {
		if got := addrOf(&net.TCPAddr{IP: net.ParseIP(ip)}); got.String() != want {
			t.Errorf("%s: got %s, want %s", ip, got, want)
		}
	}
	if got := addrOf(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("unix: got %s", got)
	}
}
