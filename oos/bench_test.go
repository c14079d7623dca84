package oos

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/oos/wire"
	"github.com/understudy-sip/understudy/supervisor"
)

// With this variable set the test binary is a SIP server in a process of its own, so that its processor time is not counted.
const serverVariable = "OOS_TEST_SERVER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(serverVariable); addr != "" {
		serveAlone(addr)
		return
	}
	os.Exit(m.Run())
}

func serveAlone(addr string) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	a := netip.MustParseAddrPort(addr)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
		panic(err)
	}
	buf := make([]byte, 4096)
	for {
		n, from, err := syscall.Recvfrom(fd, buf, 0)
		if err != nil {
			panic(err)
		}
		_ = syscall.Sendto(fd, replyTo(buf[:n], 200), 0, from)
	}
}

func startServer(b *testing.B) netip.AddrPort {
	b.Helper()
	const addr = "127.0.0.1:25060"
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"="+addr)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return netip.MustParseAddrPort(addr)
}

func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkProbe is the processor time of this whole process for one probe with its answer, at the cadence of a preset (what an idle
// sidecar pays: nearly all of it is waking up) and back to back (what the work itself costs). The plain timer is what waking up
// once costs a Go process on this machine.
func BenchmarkProbe(b *testing.B) {
	addr := startServer(b)
	b.Run("timer-alone-25-a-second", func(b *testing.B) {
		ticker := time.NewTicker(40 * ms)
		defer ticker.Stop()
		began := processorTime()
		for range b.N {
			<-ticker.C
		}
		report(b, processorTime()-began)
	})
	for _, bb := range []struct {
		name      string
		transport Transport
		interval  time.Duration
	}{
		{"udp-25-a-second", UDP, 40 * ms},
		{"udp-125-a-second", UDP, 8 * ms},
		{"udp-back-to-back", UDP, time.Microsecond},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkProbe(b, addr, bb.transport, bb.interval) })
	}
}

func benchmarkProbe(b *testing.B, addr netip.AddrPort, transport Transport, interval time.Duration) {
	p, err := New(Options{Report: func(string, supervisor.View) {}, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	to := Target{Name: "own", Addr: addr, Transport: transport, Interval: interval, Silence: time.Second}
	w := newWatch(to, func(v supervisor.View) { p.report("own", v) })
	u := newUDP(w)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	began := processorTime()
	go func() {
		defer close(done)
		u.run(ctx)
	}()
	time.Sleep(time.Duration(b.N) * max(interval, 20*time.Microsecond))
	cancel()
	<-done
	b.ReportMetric(float64(u.msg.seq), "probes")
	report(b, (processorTime()-began)*time.Duration(b.N)/time.Duration(u.msg.seq))
}

// report prints the processor time of b.N probes.
func report(b *testing.B, used time.Duration) {
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkReply is what reading an answer costs.
func BenchmarkReply(b *testing.B) {
	m := newMessage(UDP, testLocal, testRemote)
	in := replyTo(m.next(0), 200)
	b.ReportAllocs()
	for b.Loop() {
		r, _ := wire.ParseReply(in)
		if _, ok := m.identify(r); !ok {
			b.Fatal("not ours")
		}
	}
}
