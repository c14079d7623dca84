package vip

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// findings collects what a Monitor tells.
type findings struct {
	mu  sync.Mutex
	all []Finding
}

func (f *findings) add(one Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
}

func (f *findings) of(kinds ...Kind) (some []Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.all {
		if slices.Contains(kinds, one.Kind) {
			some = append(some, one)
		}
	}
	return some
}

// await waits for n findings of a kind and gives the newest.
func (f *findings) await(t testing.TB, k Kind, n int) Finding {
	t.Helper()
	end := time.Now().Add(15 * time.Second)
	for len(f.of(k)) < n {
		if time.Now().After(end) {
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Fatalf("no finding %s (%d): %+v", k, n, f.all)
		}
		time.Sleep(time.Millisecond)
	}
	return f.of(k)[n-1]
}

func (f *findings) none(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 {
		t.Errorf("findings %+v", f.all)
	}
}

// overseen is an effector with a monitor.
type overseen struct {
	Effector
	set      func(supervisor.Hold)
	host     host
	mon      *Monitor
	findings *findings
	stop     func()
	until    func() // ends the renewals
}

// oversee starts a monitor with a short grace beside an effector.
func oversee(t testing.TB, h host, e Effector, set func(supervisor.Hold), change ...func(*MonitorOptions)) *overseen {
	t.Helper()
	v := &overseen{Effector: e, host: h, findings: &findings{}, until: func() {}}
	o := DefaultMonitorOptions()
	o.Addresses, o.Interface, o.Clock, o.Effector = group, wire, raw.Clock, e
	o.Grace, o.Poll, o.Report = 300*time.Millisecond, time.Minute, v.findings.add
	if testing.Verbose() {
		o.Logger = zaptest.NewLogger(t)
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if v.mon, err = NewMonitor(o); err != nil {
		t.Fatal(err)
	}
	v.set = func(hold supervisor.Hold) { v.mon.Set(hold); set(hold) }
	ctx, cancel := context.WithCancel(context.Background())
	done := h.start(func() error { return v.mon.Run(ctx) })
	var once sync.Once
	v.stop = func() {
		once.Do(func() {
			v.until()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run the monitor: %v", err)
			}
		})
	}
	t.Cleanup(v.stop)
	return v
}

// overseeVIP is a VIP with a monitor on the host.
func overseeVIP(t testing.TB, h host, change ...func(*MonitorOptions)) (*running, *overseen) {
	t.Helper()
	r := launch(t, h)
	return r, oversee(t, h, r.VIP, r.Set, change...)
}

// primary holds the addresses until the test ends or backup is called, and waits until that is judged.
func (v *overseen) primary(t testing.TB, epoch supervisor.Epoch) {
	t.Helper()
	hold := func() { v.set(supervisor.Hold{Held: true, Epoch: epoch, Until: raw.Clock() + 2*time.Second}) }
	hold()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(20 * time.Millisecond):
				hold()
			case <-end:
				return
			}
		}
	}()
	var once sync.Once
	v.until = func() { once.Do(func() { close(end); <-ended }) }
	eventually(t, "held", func() bool { return len(v.host.has(t)) == len(group) })
	time.Sleep(2 * v.mon.o.Grace)
}

func (v *overseen) backup(t testing.TB, epoch supervisor.Epoch) {
	t.Helper()
	v.until()
	v.set(supervisor.Hold{Epoch: epoch, Serial: uint64(epoch)})
	eventually(t, "not held", func() bool { return len(v.host.has(t)) == 0 })
	time.Sleep(2 * v.mon.o.Grace)
}

func (h host) mac(t testing.TB) (mac MAC) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		mac = macOf(l.Attrs().HardwareAddr)
		return err
	})
	return mac
}

// inject sends frames from the host's wire.
func (h host) inject(t testing.TB, frames ...[]byte) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			err = errors.Join(err, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}))
		}
		return err
	})
}

// believe gives the host a neighbour entry.
func (h host) believe(t testing.TB, a netip.Addr, mac MAC, state int) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: state, IP: a.AsSlice(), HardwareAddr: mac[:]})
	})
}

// launchScript has the example scripts bring the addresses up and down on the host.
func launchScript(t testing.TB, h host) (s *Script, stop func()) {
	t.Helper()
	dir, err := filepath.Abs("../contrib/vip")
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultScriptOptions()
	o.Up, o.Down, o.Interface, o.Cluster = dir+"/up.sh", dir+"/down.sh", wire, "test"
	o.Addresses, o.Clock = group, raw.Clock
	o.Exec = func(ctx context.Context, c Command) (r Result) {
		<-h.start(func() error { r = run(ctx, c); return nil })
		return r
	}
	if s, err = NewScript(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run the scripts: %v", err)
		}
	}
}
