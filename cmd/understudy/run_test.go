package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// daemonApp is an app on edge-a with a daemon of the test's.
func daemonApp(t *testing.T, daemon daemonFunc) (a *app, stderr *bytes.Buffer, config string) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte(minimal+"log: {format: json}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	a = newApp(&out, &errs)
	a.hostname = func() (string, error) { return "edge-a", nil }
	a.daemon = daemon
	return a, &errs, config
}

// The daemon gets the configuration of its node, and what it ends with becomes the exit code.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{{"orderly", nil, 0}, {"failed", errors.New("open the store: disk is full"), 1}} {
		t.Run(c.name, func(t *testing.T) {
			var got Boot
			a, stderr, config := daemonApp(t, func(_, _ context.Context, b Boot) error { got = b; return c.err })
			if code := a.run(t.Context(), []string{"run", "-c", config}); code != c.want {
				t.Errorf("got code %d, want %d: %s", code, c.want, stderr)
			}
			if got.Setup.Self != "edge-a" || got.Version == "" || got.Log == nil || got.Notify == nil {
				t.Errorf("got %+v", got)
			}
			if c.err != nil && !strings.Contains(stderr.String(), "understudy: run edge-a: open the store: disk is full") {
				t.Errorf("got %s", stderr)
			}
		})
	}
}

// A wrong configuration ends with an exit code of its own, so that the service manager does not try it again and again.
func TestRun_badConfiguration(t *testing.T) {
	a, stderr, config := daemonApp(t, func(_, _ context.Context, b Boot) error { t.Error("it ran"); return nil })
	if err := os.WriteFile(config, []byte(minimal+"prest: fast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := a.run(t.Context(), []string{"run", "-c", config}); code != exitConfig {
		t.Errorf("got code %d, want %d", code, exitConfig)
	}
	if !strings.Contains(stderr.String(), "prest: unknown key; did you mean preset?") {
		t.Errorf("got %s", stderr)
	}
}

// The first signal is main's; the second ends the patience; a hangup ends nothing.
func TestCountSignals(t *testing.T) {
	signals, quit := make(chan os.Signal), make(chan struct{})
	seconds := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		countSignals(signals, quit, func() { seconds++ }, zap.NewNop())
	}()
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGHUP} {
		signals <- s
	}
	if seconds != 0 {
		t.Error("the first signal was taken for the second")
	}
	signals <- syscall.SIGINT
	signals <- syscall.SIGTERM
	close(quit)
	<-done
	if seconds != 1 {
		t.Errorf("got %d second signals, want 1", seconds)
	}
}

// The service manager hears what sd_notify(3) says, and hooks do not inherit its socket.
func TestNotifier(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n, err := newNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, there := os.LookupEnv("NOTIFY_SOCKET"); there {
		t.Error("NOTIFY_SOCKET is still in the environment")
	}
	if n.watchdog != 3*time.Second {
		t.Errorf("watchdog: got %v", n.watchdog)
	}
	n.Ready("backup of\nedge-b")
	n.Status("primary, epoch 42")
	n.Stopping()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.Watch(ctx, func() bool { return true })
	n.Watch(ctx, func() bool { return false })
	n.Status("end")
	for _, want := range []string{"READY=1\nSTATUS=backup of?edge-b", "STATUS=primary, epoch 42", "STOPPING=1\nSTATUS=leaving", "WATCHDOG=1", "STATUS=end"} {
		b := make([]byte, 256)
		size, err := manager.Read(b)
		if got := string(b[:size]); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// A watchdog that is meant for another process, or none at all, is none of ours.
func TestWatchdogOf(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"5000000", "", 5 * time.Second}, {"5000000", "1", 0}, {"-1", "", 0}, {"x", "", 0}} {
		if got := watchdogOf(c.usec, c.pid); got != c.want {
			t.Errorf("%q %q: got %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}

// Signs of life come three times in the time that the service manager waits, and stop when the daemon is stuck.
func TestNotifier_Watch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		n := &Notifier{conn: here, watchdog: 3 * time.Second}
		signs := make(chan struct{}, 100)
		go func() {
			b := make([]byte, 64)
			for {
				if _, err := there.Read(b); err != nil {
					return
				}
				signs <- struct{}{}
			}
		}()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		n.Watch(ctx, func() bool { return time.Since(start) < 5500*time.Millisecond })
		here.Close()
		synctest.Wait()
		if got := len(signs); got != 6 { // at 0, 1, ... 5 s
			t.Errorf("got %d signs of life, want 6", got)
		}
	})
}
