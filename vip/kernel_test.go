package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// A held address answers its neighbour, by both families; a dropped one doesn't, and nothing of it is left.
func TestVIP_holdsAndDrops(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	v := launch(t, a)
	if got, want := v.Fence(), supervisor.FenceNftables; got != want {
		t.Fatalf("fence %q, want %q", got, want)
	}
	stop := v.keep(7)
	defer stop()
	v.said.await(t, "held", held(7))
	for _, p := range group {
		if !b.client(t, p.Addr()).ask(time.Second) {
			t.Errorf("%v does not answer", p)
		}
	}
	stop()
	v.Set(supervisor.Hold{Epoch: 7})
	v.said.await(t, "not held", notHeld)
	if got := a.has(t); len(got) != 0 {
		t.Errorf("after the drop still there: %v", got)
	}
	v.stop()
	if got := a.rulesets(t); got != "" {
		t.Errorf("after the end still there: %s", got)
	}
}

// The addresses have the flags and lifetimes that doc.go asks for.
func TestVIP_addressFlags(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	got := a.has(t)
	for _, p := range group {
		if l := got[p.Addr()].ValidLft; l < 1 || l > lifetime {
			t.Errorf("%v: lifetime of %d s, want %d", p, l, lifetime)
		}
		if ones, _ := got[p.Addr()].Mask.Size(); ones != p.Bits() {
			t.Errorf("%v: prefix length %d", p, ones)
		}
	}
	six := got[vip6.Addr()]
	if want := unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_DEPRECATED; six.Flags&want != want || six.PreferedLft != 0 {
		t.Errorf("IPv6: flags %#x, preferred lifetime %d", six.Flags, six.PreferedLft)
	}
}

// Repeating a state changes nothing: the same epoch is taken and announced once.
func TestVIP_SetIsIdempotent(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	time.Sleep(200 * time.Millisecond) // ten renewals
	v.said.mu.Lock()
	defer v.said.mu.Unlock()
	if got := len(v.said.all); got != 1 {
		t.Errorf("%d reports, want 1: %+v", got, v.said.all)
	}
}

// The neighbours of a taken address see a gratuitous ARP in both forms and an unsolicited NA, byte for byte, and believe them.
func TestVIP_announces(t *testing.T) {
	a, b := pair(t)
	var mac net.HardwareAddr
	a.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		mac = l.Attrs().HardwareAddr
		return err
	})
	stale := net.HardwareAddr{2, 0, 0, 0, 0, 99}
	b.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		for _, p := range group {
			n := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_REACHABLE, IP: p.Addr().AsSlice(), HardwareAddr: stale}
			err = errors.Join(err, netlink.NeighSet(n))
		}
		return err
	})
	s := b.sniff(t)
	v := launch(t, a)
	defer v.keep(1)()
	for _, want := range append(announcement(vip4.Addr(), mac), announcement(vip6.Addr(), mac)...) {
		kind := want[12:14]
		got := s.next(5*time.Second, func(f []byte) bool {
			return string(f[6:12]) == string(mac) && string(f[12:14]) == string(kind) && (kind[0] == 0x08 || f[54] == 136)
		})
		if string(got) != string(want) {
			t.Errorf("neighbour saw\n%x, want\n%x", got, want)
		}
	}
	for _, p := range group {
		eventually(t, "neighbour entry of "+p.String()+" moves", func() bool { return b.neighbour(t, p.Addr()).String() == mac.String() })
	}
}

// Announce heals a neighbour that believes the address elsewhere, long after the announcements of taking it.
func TestVIP_announcesAgain(t *testing.T) {
	a, b := pair(t)
	v := launch(t, a, func(o *Options) { o.Announce = Announce{Schedule: []time.Duration{0}} })
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	time.Sleep(50 * time.Millisecond) // what was announced on taking it is over
	stale := net.HardwareAddr{2, 0, 0, 0, 0, 99}
	for _, p := range group {
		eventually(t, "neighbour entry of "+p.String()+" moves", func() bool {
			b.do(t, func() error {
				l, err := netlink.LinkByName(wire)
				if err != nil {
					return err
				}
				n := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_REACHABLE, IP: p.Addr().AsSlice(), HardwareAddr: stale}
				return netlink.NeighSet(n)
			})
			v.Announce()
			for range 20 {
				time.Sleep(10 * time.Millisecond)
				if mac := b.neighbour(t, p.Addr()).String(); mac != stale.String() && mac != "" {
					return true
				}
			}
			return false
		})
	}
}

func (h host) neighbour(t testing.TB, of netip.Addr) (mac net.HardwareAddr) {
	h.do(t, func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		for _, n := range all {
			if ip, _ := netip.AddrFromSlice(n.IP); ip.Unmap() == of {
				mac = n.HardwareAddr
			}
		}
		return err
	})
	return mac
}

// What a killed process left is removed at the next start, and until then the kernel keeps it closed.
func TestVIP_CleanUpAfterCrash(t *testing.T) {
	a, _ := pair(t)
	launchChild(t, a, "keep").kill()
	if got := a.has(t); len(got) != len(group) {
		t.Fatalf("right after the kill there are %v", got)
	}
	said := newReports()
	v, err := New(options(said))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a.do(t, func() error { return v.CleanUp(context.Background()) })
	}
	if got := a.has(t); len(got) != 0 {
		t.Errorf("after cleaning up there are %v", got)
	}
	if rules := a.rulesets(t); strings.Contains(rules, "expires") || !strings.Contains(rules, "chain in") {
		t.Errorf("the gate is not there, or open: %s", rules)
	}
}

// A process that is started right after another was killed tries its gate out, which opens it. By then the address must be gone: it may be
// up elsewhere.
func TestVIP_CleanUpNeverAnswers(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	v := launch(t, a)
	stop := v.keep(1)
	v.said.await(t, "held", held(1))
	clients := []*client{b.client(t, group[0].Addr()), b.client(t, group[1].Addr())}
	for _, c := range clients {
		if !c.ask(2 * time.Second) {
			t.Fatal("no answer while the address is held")
		}
	}
	stop()
	v.stop()
	for _, c := range []func(*VIP) error{
		func(v *VIP) error { return v.CleanUp(t.Context()) },
		func(v *VIP) error { return v.detect() }, // what Run begins with
	} {
		for range 20 {
			launchChild(t, a, "keep").kill()
			time.Sleep(DefaultOptions().Lease) // the kernel has closed the gate; the addresses are still there
			done, asked := make(chan struct{}), make(chan int)
			for _, c := range clients {
				go func() {
					n := 0
					for {
						select {
						case <-done:
							asked <- n
							return
						default:
							if c.ask(500 * time.Microsecond) {
								n++
							}
						}
					}
				}()
			}
			fresh, err := New(options(newReports()))
			if err != nil {
				t.Fatal(err)
			}
			a.do(t, func() error { return c(fresh) })
			close(done)
			for range clients {
				if n := <-asked; n > 0 {
					t.Errorf("%d answers from the address of a killed process", n)
				}
			}
		}
	}
}

// An address that the process no longer refreshes is removed by the kernel when its lifetime ends.
func TestVIP_kernelRemovesAddress(t *testing.T) {
	a, _ := pair(t)
	launchChild(t, a, "keep").Process.Signal(unix.SIGSTOP)
	stopped := time.Now()
	eventually(t, "the kernel removes the addresses", func() bool { return len(a.has(t)) == 0 })
	if took := time.Since(stopped); took > 4*time.Second {
		t.Errorf("addresses of a frozen process stayed for %v", took)
	}
}

// The group moves as one: if one of its addresses can't be added, the others don't stay.
func TestVIP_groupIsAtomic(t *testing.T) {
	a, _ := pair(t)
	a.sysctl(t, "net/ipv6/conf/"+wire+"/disable_ipv6", "1")
	v := launch(t, a)
	defer v.keep(1)()
	r := v.said.await(t, "an error", func(r supervisor.AddressReport) bool { return r.Err != nil })
	if r.Held || !strings.Contains(r.Err.Error(), "disable_ipv6=0") {
		t.Errorf("report %+v", r)
	}
	eventually(t, "no address stays", func() bool { return len(a.has(t)) == 0 })
	a.sysctl(t, "net/ipv6/conf/"+wire+"/disable_ipv6", "0")
	v.said.await(t, "held", held(1))
}

// A lease that isn't renewed ends by the effector's own timer.
func TestVIP_dropsWhenTheLeaseEnds(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	v.hold(1, 150*time.Millisecond)
	v.said.await(t, "held", held(1))
	v.said.await(t, "not held", notHeld)
	if got := a.has(t); len(got) != 0 {
		t.Errorf("after the lease there are %v", got)
	}
}

// Whatever epoch was newest: nothing is done for an older one.
func TestVIP_ignoresOlderEpoch(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	v.Set(supervisor.Hold{Epoch: 5})
	v.said.await(t, "not held", notHeld)
	v.hold(4, time.Minute)
	time.Sleep(50 * time.Millisecond)
	if got := a.has(t); len(got) != 0 {
		t.Errorf("an older epoch put up %v", got)
	}
}

// Two clusters on one host don't open each other's gate.
func TestVIP_clustersAreSeparate(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	other := launch(t, a, func(o *Options) {
		o.Cluster, o.Addresses = "a-nother", []netip.Prefix{netip.MustParsePrefix("10.77.0.101/32")}
	})
	v.said.await(t, "held", held(1))
	other.Set(supervisor.Hold{Epoch: 1})
	other.said.await(t, "not held", notHeld)
	rules := a.rulesets(t)
	if !strings.Contains(rules, tableName("a-nother")) || strings.Count(rules, "expires") != 3 {
		t.Errorf("rules:\n%s", rules)
	}
	// What nft prints, it reads again: hosts save and restore their ruleset.
	a.restore(t, rules)
}

// Without nftables or by choice the lifetime is the fence; with none there is no end to it.
func TestVIP_otherFences(t *testing.T) {
	for mode, want := range map[FenceMode]struct {
		fence    supervisor.Fence
		lifetime int
	}{
		FenceLifetime: {supervisor.FenceLifetime, lifetime},
		FenceNone:     {supervisor.FenceNone, lifetimeForever},
	} {
		t.Run(string(mode), func(t *testing.T) {
			a, b := pair(t)
			a.echo(t)
			v := launch(t, a, func(o *Options) { o.Fence = mode })
			if got := v.Fence(); got != want.fence {
				t.Errorf("fence %q, want %q", got, want.fence)
			}
			defer v.keep(1)()
			v.said.await(t, "held", held(1))
			if rules := a.rulesets(t); rules != "" {
				t.Errorf("rules: %s", rules)
			}
			if got := a.has(t)[vip4.Addr()].ValidLft; got > want.lifetime || got < want.lifetime-1 {
				t.Errorf("lifetime %d, want %d", got, want.lifetime)
			}
			if !b.client(t, vip4.Addr()).ask(time.Second) {
				t.Error("the address does not answer")
			}
		})
	}
}

// Where the gate can't work, which a loopback interface that is down stands for, auto falls back and nftables refuses.
func TestVIP_fallsBack(t *testing.T) {
	a, _ := pair(t)
	a.do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		return errors.Join(err, netlink.LinkSetDown(lo))
	})
	v := launch(t, a)
	if got, want := v.Fence(), supervisor.FenceLifetime; got != want {
		t.Errorf("fence %q, want %q", got, want)
	}
	if rules := a.rulesets(t); rules != "" {
		t.Errorf("rules left: %s", rules)
	}
	o := options(newReports())
	o.Fence = FenceNftables
	strict, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-a.start(func() error { return strict.CleanUp(context.Background()) }); err == nil {
		t.Error("nftables does not work, and no error")
	}
}

// Present tells what is on the interface, as status shows it.
func TestVIP_Present(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	a.do(t, func() error {
		got, err := v.Present()
		for _, p := range group {
			if !got[p] {
				t.Errorf("%v is not present: %v", p, got)
			}
		}
		return err
	})
}
