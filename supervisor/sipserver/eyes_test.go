package sipserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func TestSocket_serves(t *testing.T) {
	tests := []struct {
		transport, addr string
		v6only          bool
		listen          Socket
		want            bool
	}{
		{"udp", "10.0.0.1:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, true},
		{"udp", "10.0.0.1:5061", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, false},
		{"udp", "10.0.0.2:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, false},
		{"tcp", "10.0.0.1:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, false},
		{"tcp", "10.0.0.1:5061", false, Socket{"tls", netip.MustParseAddrPort("10.0.0.1:5061")}, true},
		{"udp", "0.0.0.0:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, true},
		{"udp", "0.0.0.0:5060", false, Socket{"udp", netip.MustParseAddrPort("[2001:db8::1]:5060")}, false},
		{"udp", "[::]:5060", false, Socket{"udp", netip.MustParseAddrPort("[2001:db8::1]:5060")}, true},
		{"udp", "[::]:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, true},
		{"udp", "[::]:5060", true, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, false},
		{"udp", "[::ffff:10.0.0.1]:5060", false, Socket{"udp", netip.MustParseAddrPort("10.0.0.1:5060")}, true},
	}
	for _, tt := range tests {
		s := socket{transport: tt.transport, addr: netip.MustParseAddrPort(tt.addr), v6only: tt.v6only}
		if got := s.serves(tt.listen); got != tt.want {
			t.Errorf("%s %s (v6only %v) for %v: got %v", tt.transport, tt.addr, tt.v6only, tt.listen, got)
		}
	}
}

func spinning(t *testing.T, how string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), spinVariable+"="+how)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A process that gets no processor is told from one that is stopped.
func TestEyes_look(t *testing.T) {
	e, err := openEyes(nil, nil, "", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	starving := []holder{{pid: spinning(t, "idle")}}
	other := spinning(t, "normal")
	e.look(starving, true)
	for began := time.Now(); ; time.Sleep(relook) { // the scheduler lets it run for moments
		l := e.look(starving, false)
		if l.starved && l.waiting == 1 && l.stopped == 0 {
			t.Logf("seen to starve after %v", time.Since(began).Round(ms))
			break
		}
	}
	stopped := []holder{{pid: other}}
	if err := unix.Kill(other, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for e.look(stopped, true).stopped == 0 {
		time.Sleep(ms)
	}
	if l := e.look(stopped, true); l.starved || l.waiting != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestReadStat(t *testing.T) {
	s, err := readStat("/proc/self/stat")
	if err != nil || s.parent != os.Getppid() || s.name == "" || strings.IndexByte("RSD", s.state) < 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	odd := t.TempDir() + "/stat"
	line := "7 (a) b (c) Z 5" + strings.Repeat(" 0", 47) + " 9\n"
	if err := os.WriteFile(odd, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := readStat(odd); err != nil || s != (stat{name: "a) b (c", state: 'Z', parent: 5, exit: 9}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// BenchmarkScan is what the slow poll costs each second (sockets alone), what a look at the connections costs while a
// hang is being decided, and what a search of all processes costs.
func BenchmarkScan(b *testing.B) {
	e, err := openEyes([]Socket{{"udp", netip.MustParseAddrPort("127.0.0.1:5060")}, {"tcp", netip.MustParseAddrPort("127.0.0.1:5060")}}, nil, "", zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	defer e.close()
	b.Run("sockets", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.sockets(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("connections", func(b *testing.B) {
		for b.Loop() {
			if _, err := connections(5060, 5060); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("processes", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := findHolders(map[uint64]bool{1: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWatch is the processor time of this whole process for a second of watching a server that serves, without the probes: run
// it with -benchtime 10x.
func BenchmarkWatch(b *testing.B) {
	conn, err := net.ListenPacket("udp", serverAddr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	s, err := New(Options{Listen: listenUDP, Report: func(Status) {}, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Duration(b.N)*time.Second)
	defer cancel()
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		b.Fatal(err)
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/float64(time.Microsecond)/float64(b.N), "cpu-us/s")
	b.ReportMetric(0, "ns/op")
}
