package vip

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// spread reports minimum, median and maximum in microseconds.
func spread(b *testing.B, name string, all []time.Duration) {
	slices.Sort(all)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	b.ReportMetric(us(all[0]), name+"-min-µs")
	b.ReportMetric(us(all[len(all)/2]), name+"-med-µs")
	b.ReportMetric(us(all[len(all)-1]), name+"-max-µs")
}

func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// CPU of one renewal at the pace of the preset fast, with everything else that the effector does meanwhile. The ticker's own share is
// measured and taken off. go test -bench VIP_refresh -benchtime 1000x
func BenchmarkVIP_refresh(b *testing.B) {
	a, _ := pair(b)
	v := launch(b, a)
	v.hold(1, 150*time.Millisecond)
	v.said.await(b, "held", held(1))
	pace := func(each func()) time.Duration {
		tick := time.NewTicker(4 * time.Millisecond)
		defer tick.Stop()
		before := cpu()
		for range b.N {
			<-tick.C
			each()
		}
		return cpu() - before
	}
	b.ResetTimer()
	used := pace(func() { v.hold(1, 150*time.Millisecond) })
	b.StopTimer()
	v.Set(supervisor.Hold{Epoch: 1})
	v.said.await(b, "not held", notHeld)
	idle := pace(func() {})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64((used-idle).Microseconds())/float64(b.N), "cpu-µs/renewal")
}

// The time from Set to the report that the address is held and announced, and to the first answer that a neighbour gets which asks
// every 0.2 ms and believes that another host has the address. go test -bench VIP_take -benchtime 100x
func BenchmarkVIP_take(b *testing.B) {
	a, peer := pair(b)
	a.echo(b)
	v := launch(b, a)
	var announced, answered, dropped []time.Duration
	for i := range b.N {
		epoch := supervisor.Epoch(i + 1)
		peer.mislead(b)
		c := peer.client(b, vip4.Addr())
		first, stop := c.firstAnswer(200 * time.Microsecond)
		time.Sleep(5 * time.Millisecond)
		start := raw.Clock()
		v.hold(epoch, time.Second)
		v.said.await(b, "held", held(epoch))
		announced = append(announced, raw.Clock()-start)
		answered = append(answered, <-first-start)
		stop()
		start = raw.Clock()
		v.Set(supervisor.Hold{Epoch: epoch})
		v.said.await(b, "not held", notHeld)
		dropped = append(dropped, raw.Clock()-start)
	}
	b.ReportMetric(0, "ns/op")
	spread(b, "announced", announced)
	spread(b, "answered", answered)
	spread(b, "dropped", dropped)
}

// mislead gives the host a neighbour entry for the service addresses that points to nobody.
func (h host) mislead(t testing.TB) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		for _, p := range group {
			n := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_REACHABLE, IP: p.Addr().AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 99}}
			err = errors.Join(err, netlink.NeighSet(n))
		}
		return err
	})
}

// firstAnswer asks every so often until stop, and gives the moment of the first answer.
func (c *client) firstAnswer(every time.Duration) (<-chan time.Duration, func()) {
	first, end := make(chan time.Duration, 1), make(chan struct{})
	go func() {
		b := make([]byte, 16)
		for {
			if _, err := c.conn.Read(b); err == nil {
				first <- raw.Clock()
				return
			} else if errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	go func() {
		pause := unix.NsecToTimespec(int64(every)) // Go's own timers are a millisecond coarse on an idle machine
		for {
			select {
			case <-end:
				return
			default:
				c.conn.Write([]byte{0})
				unix.Nanosleep(&pause, nil)
			}
		}
	}()
	return first, func() { close(end) }
}

// The last question that was answered, before the end of the lease of a process that is frozen: positive means before.
// go test -bench Gate_closes -benchtime 30x
func BenchmarkGate_closes(b *testing.B) {
	a, peer := pair(b)
	a.echo(b)
	c := peer.client(b, vip4.Addr())
	var before []time.Duration
	for range b.N {
		o := launchChild(b, a, "freeze")
		before = append(before, -lastAnswer(c, o.until))
		o.kill()
		eventually(b, "the kernel removes the addresses", func() bool { return len(a.has(b)) == 0 })
	}
	b.ReportMetric(0, "ns/op")
	spread(b, "before-end", before)
}
