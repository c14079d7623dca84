package raw

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen gives a detached socket on the loopback interface and its address in both forms.
func listen(t *testing.T, ip string) (*Socket, *net.UDPAddr, Addr) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	at := conn.LocalAddr().(*net.UDPAddr)
	s, err := Detach(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if v4 := at.IP.To4(); v4 != nil {
		return s, at, Inet4([4]byte(v4), uint16(at.Port))
	}
	return s, at, Inet6([16]byte(at.IP), uint16(at.Port), 0)
}

// What one socket sends reaches the other's call back, over IPv4 and IPv6.
func TestPoller_socket(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			from, _, _ := listen(t, ip)
			to, _, addr := listen(t, ip)
			p, err := NewPoller(nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			var got []string
			buf := make([]byte, 64)
			err = p.Watch(to, func() error {
				for {
					n, err := to.Receive(buf)
					if errors.Is(err, unix.EAGAIN) {
						return nil
					}
					if err != nil {
						return err
					}
					if got = append(got, string(buf[:n])); len(got) == 2 {
						stop()
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{"one", ""} { // an empty datagram is one too
				if err := from.Send([]byte(s), addr); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Run(ctx); err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
			if len(got) != 2 || got[0] != "one" || got[1] != "" {
				t.Errorf("got %q, want [one, nothing]", got)
			}
		})
	}
}

// The alarm rings once for each time it was set, not before its time, and the last setting counts.
func TestPoller_alarm(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	var p *Poller
	var start time.Time
	rings := 0
	p, err := NewPoller(func() error {
		if rings++; rings == 1 {
			p.Alarm(time.Hour) // must not ring
			go func() { time.Sleep(20 * time.Millisecond); p.Alarm(0) }()
			return nil
		}
		stop()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Alarm(time.Nanosecond)
	start = time.Now()
	p.Alarm(10 * time.Millisecond)
	if err := p.Run(ctx); err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if rings != 2 {
		t.Errorf("the alarm rang %d times, want 2", rings)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("the alarm rang %v after it was set for 10ms, then 20ms", took)
	}
}

// A call back's error ends Run, which may be run again; a poller that was closed is done.
func TestPoller_ends(t *testing.T) {
	errTest := errors.New("test")
	p, err := NewPoller(func() error { return errTest })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p.Alarm(0)
		if err := p.Run(t.Context()); !errors.Is(err, errTest) {
			t.Errorf("Run: got %v, want %v", err, errTest)
		}
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	}
	if err := p.Run(t.Context()); err != nil {
		t.Errorf("Run after Close: got %v, want nil", err)
	}
}

// A closed socket sends nothing, however many are at it.
func TestSocket_close(t *testing.T) {
	s, _, addr := listen(t, "127.0.0.1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				switch err := s.Send([]byte("x"), addr); {
				case errors.Is(err, net.ErrClosed):
					return
				case err != nil && !errors.Is(err, unix.EAGAIN):
					t.Errorf("Send: got %v", err)
				}
			}
		})
	}
	time.Sleep(time.Millisecond)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := s.Receive(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive: got %v, want %v", err, net.ErrClosed)
	}
}

// Clock does not stand still and does not go back.
func TestClock(t *testing.T) {
	first := Clock()
	time.Sleep(time.Millisecond)
	if second := Clock(); second-first < 500*time.Microsecond {
		t.Errorf("a millisecond took %v", second-first)
	}
}
