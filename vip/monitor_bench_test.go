package vip

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// CPU that a monitor takes beside an effector that holds the addresses, as parts of a million of a core. go test -bench Monitor_idle
// -benchtime 1x
func BenchmarkMonitor_idle(b *testing.B) {
	a, _ := pair(b)
	v := launch(b, a)
	hold := supervisor.Hold{Held: true, Epoch: 1, Until: raw.Clock() + time.Hour}
	v.Set(hold)
	v.said.await(b, "held", held(1))
	const span = 10 * time.Second
	use := func() time.Duration {
		before := cpu()
		time.Sleep(span)
		return cpu() - before
	}
	for range b.N {
		alone := use()
		m := oversee(b, a, v.VIP, func(supervisor.Hold) {}, func(o *MonitorOptions) { o.Poll = DefaultMonitorOptions().Poll })
		m.set(hold)
		both := use()
		m.stop()
		b.ReportMetric(float64((both-alone).Nanoseconds())/span.Seconds()/1000, "cpu-ppm")
	}
}

// What a renewal costs the goroutine that passes it on.
func BenchmarkMonitor_Set(b *testing.B) {
	o := DefaultMonitorOptions()
	o.Addresses, o.Interface, o.Clock, o.Effector = group, wire, raw.Clock, stubborn{func() {}}
	m, err := NewMonitor(o)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		m.Set(supervisor.Hold{Held: true, Epoch: 1, Until: raw.Clock() + time.Second})
	}
}

// From the moment when somebody removes an address until it is back and that is told. go test -bench Monitor_repair -benchtime 10x
func BenchmarkMonitor_repair(b *testing.B) {
	a, _ := pair(b)
	v := launch(b, a)
	v.hold(1, time.Hour)
	v.said.await(b, "held", held(1))
	o := oversee(b, a, v.VIP, func(supervisor.Hold) {})
	o.set(supervisor.Hold{Held: true, Epoch: 1, Until: raw.Clock() + time.Hour})
	time.Sleep(2 * o.mon.o.Grace)
	var told []time.Duration
	for i := range b.N {
		time.Sleep(flapSpan * o.mon.o.Grace)
		began := time.Now()
		a.removeByHand(b)
		for len(o.findings.of(KindRepaired)) <= i {
			time.Sleep(20 * time.Microsecond)
		}
		told = append(told, time.Since(began))
	}
	b.ReportMetric(0, "ns/op")
	spread(b, "told", told)
}
