package nic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// TestMain moves all tests into a network namespace of their own.
func TestMain(m *testing.M) {
	const inside = "UNDERSTUDY_NIC_TEST"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nic: the tests need root or user namespaces:", err)
		os.Exit(1)
	}
}

const patience = 20 * time.Second

// seen is a running Watcher and everything that it reported.
type seen struct {
	t *testing.T

	mu       sync.Mutex
	states   []State
	gateways []Gateway
	news     chan struct{}
}

// watch runs a Watcher until the test ends, and then checks that it reported nothing twice.
func watch(t *testing.T, monitors ...Monitor) *seen {
	t.Helper()
	s := &seen{t: t, news: make(chan struct{}, 1)}
	tell := func(f func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	w, err := New(Options{
		Monitors: monitors, Logger: zap.NewNop(),
		Report:        func(r State) { tell(func() { s.states = append(s.states, r) }) },
		ReportGateway: func(r Gateway) { tell(func() { s.gateways = append(s.gateways, r) }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		s.checkNews()
	})
	return s
}

// checkNews proves that no state was reported twice in a row.
func (s *seen) checkNews() {
	last := map[string]State{}
	for _, r := range s.states {
		r.Since = time.Time{}
		if before, told := last[r.Name]; told && before == r {
			s.t.Errorf("reported twice: %+v", r)
		}
		last[r.Name] = r
	}
}

// await waits until the last report of a monitor is like that.
func (s *seen) await(step, name string, ok func(State) bool) State {
	s.t.Helper()
	var last State
	s.until(func() bool {
		for i := len(s.states) - 1; i >= 0; i-- {
			if s.states[i].Name == name {
				last = s.states[i]
				return ok(last)
			}
		}
		return false
	}, func() { s.t.Fatalf("%s: got %+v last", step, last) })
	return last
}

func (s *seen) until(ok func() bool, fail func()) {
	s.t.Helper()
	end := time.After(patience)
	for {
		s.mu.Lock()
		is := ok()
		s.mu.Unlock()
		if is {
			return
		}
		select {
		case <-s.news:
		case <-end:
			fail()
			return
		}
	}
}

// says waits until the last report of a monitor has that text.
func (s *seen) says(step, name, text string) State {
	s.t.Helper()
	return s.await(fmt.Sprintf("%s: want %q", step, text), name, func(r State) bool { return r.Text == text })
}

// gatewayIs waits until the last report of a gateway is that.
func (s *seen) gatewayIs(step string, want Reach) Gateway {
	s.t.Helper()
	var last Gateway
	s.until(func() bool {
		if n := len(s.gateways); n > 0 {
			last = s.gateways[n-1]
		}
		return last.Reach == want && last.Text != ""
	}, func() { s.t.Fatalf("%s: got %+v, want %v", step, last, want) })
	return last
}

// count gives the number of reports so far.
func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.states)
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes a veth pair, both ends up, which is gone when the test ends.
func pair(t testing.TB, near, far string) (netlink.Link, netlink.Link) {
	t.Helper()
	remove(near)
	do(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: far}))
	t.Cleanup(func() { remove(near); remove(far) })
	a, b := named(t, near), named(t, far)
	do(t, errors.Join(netlink.LinkSetUp(a), netlink.LinkSetUp(b)))
	return a, b
}

func named(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	do(t, err)
	return l
}

func remove(name string) {
	if l, err := netlink.LinkByName(name); err == nil {
		netlink.LinkDel(l)
	}
}

// add makes an interface that the kernel may not know how to make; the test is skipped then.
func add(t testing.TB, l netlink.Link) netlink.Link {
	t.Helper()
	err := netlink.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel makes no interface of the kind %s", l.Type())
	}
	do(t, err)
	t.Cleanup(func() { remove(l.Attrs().Name) })
	return l
}

func address(t testing.TB, cidr string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	do(t, err)
	if netip.MustParsePrefix(cidr).Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// host is another network namespace.
type host struct{ ns netns.NsHandle }

func newHost(t testing.TB) host {
	t.Helper()
	var h host
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread isn't used again
		var err error
		h.ns, err = netns.New()
		done <- err
	}()
	do(t, <-done)
	t.Cleanup(func() { h.ns.Close() })
	return h
}

// do runs f on a thread in the host's namespace. The thread ends with it.
func (h host) do(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(h.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	do(t, <-done)
}

// by watches an interface by name, without damping: the tests change it more often than an interface may.
func by(name string) Monitor {
	m := DefaultMonitor()
	m.Link, m.DebounceDown, m.DebounceUp = name, 0, 0
	return m
}

// carrying watches the interface with an address, without damping.
func carrying(name, addr string) Monitor {
	m := by("")
	m.Name, m.Address = name, netip.MustParseAddr(addr)
	return m
}
