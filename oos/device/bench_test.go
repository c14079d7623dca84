package device

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// responder answers OPTIONS to any address of 127.0.0.0/8 from that address, on a thread of its own whose processor time it tells.
type responder struct {
	socket *raw.Socket
	port   uint16
	used   atomic.Int64 // processor time
	wait   sync.WaitGroup
	stop   atomic.Bool
}

func startResponder(tb testing.TB) *responder {
	tb.Helper()
	conn, err := (&net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_PKTINFO, 1)
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
			_ = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000})
		})
	}}).ListenPacket(context.Background(), "udp4", "0.0.0.0:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &responder{port: uint16(conn.LocalAddr().(*net.UDPAddr).Port)}
	if r.socket, err = raw.Detach(conn.(*net.UDPConn)); err != nil {
		tb.Fatal(err)
	}
	_ = r.socket.Control(func(fd int) { err = unix.SetNonblock(fd, false) })
	if err != nil {
		tb.Fatal(err)
	}
	r.wait.Go(r.serve)
	tb.Cleanup(func() {
		r.stop.Store(true)
		r.wait.Wait()
		if err := r.socket.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

func (r *responder) serve() {
	runtime.LockOSThread()
	fd := -1
	_ = r.socket.Control(func(n int) { fd = n })
	in, control := newBatch(), [atOnce][64]byte{}
	out := newBatch()
	for !r.stop.Load() {
		for i := range in.headers {
			in.headers[i].Namelen = unix.SizeofSockaddrInet6
			in.headers[i].Control = &control[i][0]
			in.headers[i].SetControllen(len(control[i]))
			in.vectors[i].SetLen(longestDatagram)
		}
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.headers)), atOnce, unix.MSG_WAITFORONE, 0, 0)
		if e != 0 {
			r.account()
			continue
		}
		for i := range int(n) {
			b, _ := in.datagram(i)
			out.put(i, replyTo(out.octets[i][:0], b, 200, ""), in.places[i])
			out.places[i].size = unix.SizeofSockaddrInet4
			out.headers[i].Namelen = unix.SizeofSockaddrInet4
			out.headers[i].Control, out.headers[i].Controllen = in.headers[i].Control, in.headers[i].Controllen // from where it went to
		}
		for i := 0; i < int(n); {
			k, err := out.send(fd, i, int(n))
			if err != nil {
				break
			}
			i += k
		}
		r.account()
	}
}

func (r *responder) account() {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) == nil {
		r.used.Store(u.Utime.Nano() + u.Stime.Nano())
	}
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProbes asks thousands of devices on addresses of their own, and tells the processor time of this process for a probe with its answer,
// without the responder's, and how many deadlines were missed: probes that left more than 50 ms late, and devices that were taken for dead.
func BenchmarkProbes(b *testing.B) {
	for _, rate := range []int{1000, 10000, 50000} {
		b.Run(fmt.Sprintf("%d-a-second", rate), func(b *testing.B) { benchmarkProbes(b, rate) })
	}
}

func benchmarkProbes(b *testing.B, rate int) {
	r := startResponder(b)
	devices := make([]Device, rate)
	for i := range devices {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 127<<24|1<<16|uint32(i+1))
		at := netip.AddrPortFrom(netip.AddrFrom4(ip), r.port)
		devices[i] = Device{Name: fmt.Sprint(i), URI: "sip:device@" + at.String(), Check: 10 * time.Second, Force: 5 * time.Second, MaxForwards: 70}
	}
	var bad atomic.Int32
	o := DefaultOptions()
	o.Devices, o.Logger = devices, zap.NewNop()
	o.Report = func(v Verdict) {
		if v.State != InService {
			bad.Add(1)
		}
	}
	c, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	for i := range c.slots { // the range that an operator may set ends at 300 s: the rate comes from the number of devices
		c.slots[i].check = time.Second
	}
	ctx, cancel := context.WithCancel(b.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
	c.SetActive(true)
	time.Sleep(2 * time.Second) // the first round, with everything that is learned once
	before := c.Stats()
	began, others := processorTime(), r.used.Load()
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * time.Second / time.Duration(rate))
	b.StopTimer()
	used := processorTime() - began - time.Duration(r.used.Load()-others)
	after := c.Stats()
	var rtts []time.Duration
	for _, v := range c.Verdicts() {
		rtts = append(rtts, v.RTT)
	}
	probes, late := after.Probes-before.Probes, after.Late-before.Late
	answers := after.Answers - before.Answers
	cancel()
	run.Wait()
	slices.Sort(rtts)
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(max(probes, 1)), "cpu-us/probe")
	b.ReportMetric(float64(probes)/b.Elapsed().Seconds(), "probes/s")
	b.ReportMetric(float64(answers), "answers")
	b.ReportMetric(float64(late), "late")
	b.ReportMetric(float64(after.Latest.Microseconds())/1000, "latest-ms")
	b.ReportMetric(float64(bad.Load()), "wrong")
	b.ReportMetric(0, "ns/op")
	if len(rtts) > 0 {
		b.ReportMetric(float64(rtts[len(rtts)/2].Microseconds())/1000, "rtt-p50-ms")
		b.ReportMetric(float64(rtts[len(rtts)*99/100].Microseconds())/1000, "rtt-p99-ms")
	}
}
