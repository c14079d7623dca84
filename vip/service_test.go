package vip

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// raw.Clock is CLOCK_MONOTONIC_RAW, as leases use it.
// reports collects what an effector reports.
type reports struct {
	mu   sync.Mutex
	all  []supervisor.AddressReport
	wake chan struct{}
}

func newReports() *reports { return &reports{wake: make(chan struct{}, 1)} }

func (r *reports) add(a supervisor.AddressReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reports) last() (supervisor.AddressReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return supervisor.AddressReport{}, false
	}
	return r.all[len(r.all)-1], true
}

// await waits until the newest report is as ok wants it.
func (r *reports) await(t testing.TB, what string, ok func(supervisor.AddressReport) bool) supervisor.AddressReport {
	t.Helper()
	patience := time.After(10 * time.Second)
	for {
		if last, any := r.last(); any && ok(last) {
			return last
		}
		select {
		case <-r.wake:
		case <-patience:
			last, _ := r.last()
			t.Fatalf("no report of %s; the last is %+v", what, last)
		}
	}
}

func held(epoch supervisor.Epoch) func(supervisor.AddressReport) bool {
	return func(r supervisor.AddressReport) bool { return r.Held && r.Epoch == epoch && r.Err == nil }
}

func notHeld(r supervisor.AddressReport) bool { return !r.Held && r.Err == nil }

// options for an effector on host a.
func options(said *reports) Options {
	o := DefaultOptions()
	o.Addresses, o.Interface, o.Cluster = group, wire, "test"
	o.Clock, o.Report = raw.Clock, said.add
	return o
}

// running is an effector in service on a host.
type running struct {
	*VIP
	host host
	said *reports
	stop func()
}

func launch(t testing.TB, h host, change ...func(*Options)) *running {
	t.Helper()
	said := newReports()
	o := options(said)
	if testing.Verbose() {
		o.Logger = zaptest.NewLogger(t)
	}
	for _, c := range change {
		c(&o)
	}
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.do(t, func() error { return v.CleanUp(ctx) })
	done := h.start(func() error { return v.Run(ctx) })
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return &running{VIP: v, host: h, said: said, stop: stop}
}

// hold sets a hold of the epoch for another left.
func (r *running) hold(epoch supervisor.Epoch, left time.Duration) {
	r.Set(supervisor.Hold{Held: true, Epoch: epoch, Until: raw.Clock() + left})
}

// keep renews a lease of 150 ms every 20 ms, as the core does, until the function that it returns is called.
func (r *running) keep(epoch supervisor.Epoch) (stop func()) {
	const lease, every = 150 * time.Millisecond, 20 * time.Millisecond
	r.hold(epoch, lease)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.hold(epoch, lease)
			case <-end:
				return
			}
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(end); <-ended }) }
}
