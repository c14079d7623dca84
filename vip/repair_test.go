package vip

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// An address that somebody else removes while it is held comes back, and is counted.
func TestVIP_repairs(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	for range 3 {
		before := v.Repairs()
		a.removeByHand(t)
		eventually(t, "repaired", func() bool { return v.Repairs() > before && len(a.has(t)) == len(group) })
	}
	if last, _ := v.said.last(); last.Err != nil {
		t.Errorf("a few repairs raised an alarm: %v", last.Err)
	}
}

func (h host) removeByHand(t testing.TB) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, &netlink.Addr{IPNet: ipnet(vip4)})
	})
}

// Somebody who keeps removing the address is fought slowly, and told about.
func TestVIP_repairsAreBounded(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	defer v.keep(1)()
	v.said.await(t, "held", held(1))
	for i := range repairLimit {
		a.removeByHand(t)
		eventually(t, "repaired", func() bool { return v.Repairs() == uint64(i+1) })
	}
	r := v.said.await(t, "an alarm", func(r supervisor.AddressReport) bool { return r.Err != nil })
	if !r.Held {
		t.Errorf("alarm says the address is not held: %+v", r)
	}
	a.removeByHand(t)
	eventually(t, "repaired once more", func() bool { return len(a.has(t)) == len(group) })
}

// A backup on whose host somebody adds the service address, on any interface and with any prefix, removes it.
func TestVIP_backupRemovesForeignAddress(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	v.Set(supervisor.Hold{Epoch: 1})
	v.said.await(t, "not held", notHeld)
	for _, name := range []string{"lo", wire} {
		before := v.Repairs()
		a.do(t, func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: vip4.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}})
		})
		eventually(t, "removed from "+name, func() bool { return v.Repairs() == before+1 && len(a.has(t)) == 0 })
	}
}

// Without its interface the address can't be held, which is reported; with the interface back it is held again.
func TestVIP_interfaceGoesAndComes(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	v := launch(t, a)
	defer v.keep(3)()
	v.said.await(t, "held", held(3))

	a.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		return errors.Join(err, netlink.LinkSetDown(l))
	})
	v.said.await(t, "interface down", func(r supervisor.AddressReport) bool { return !r.Held && errors.Is(r.Err, unix.ENETDOWN) })
	a.do(t, func() error { return raise(wire) })
	v.said.await(t, "held again", held(3))

	a.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		return errors.Join(err, netlink.LinkDel(l))
	})
	v.said.await(t, "interface gone", func(r supervisor.AddressReport) bool { return !r.Held && errors.Is(r.Err, unix.ENODEV) })
	a.do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: wire}, PeerName: wire, PeerNamespace: netlink.NsFd(b.ns)})
	})
	a.do(t, func() error { return up("10.77.0.1/24", "fd77::1/64") })
	b.do(t, func() error { return up("10.77.0.2/24", "fd77::2/64") })
	v.said.await(t, "held on the new interface", held(3))
	for _, p := range group {
		if !b.client(t, p.Addr()).ask(2 * time.Second) {
			t.Errorf("%v does not answer on the new interface", p)
		}
	}
}

// Run needs no CleanUp before it: it finds the fence out and removes what is left over.
func TestVIP_RunAlone(t *testing.T) {
	a, _ := pair(t)
	launchChild(t, a, "keep").kill()
	said := newReports()
	v, err := New(options(said))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Fence(); got != supervisor.FenceNone {
		t.Errorf("before anything was tried the fence is %q", got)
	}
	v.Set(supervisor.Hold{Epoch: 2, Serial: 1})
	for range 2 { // and it can run again
		ctx, cancel := context.WithCancel(t.Context())
		done := a.start(func() error { return v.Run(ctx) })
		r := &running{VIP: v, said: said}
		said.await(t, "not held", notHeld)
		if got := a.has(t); len(got) != 0 {
			t.Errorf("reported as not held: %v", got)
		}
		stop := r.keep(3)
		said.await(t, "held", held(3))
		stop()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if rules := a.rulesets(t); rules != "" || len(a.has(t)) != 0 {
			t.Errorf("left: %s, %v", rules, a.has(t))
		}
	}
}

// Somebody who flushes the whole ruleset doesn't take the fence away for long.
func TestVIP_rebuildsTheGate(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	v := launch(t, a)
	stop := v.keep(1)
	defer stop()
	v.said.await(t, "held", held(1))
	for _, damage := range []string{"flush ruleset", "delete table inet understudy_test", "delete table arp understudy_test", "flush table arp understudy_test"} {
		a.nft(t, damage)
		eventually(t, "rules back after "+damage, func() bool { return strings.Count(a.rulesets(t), "expires") == 3 })
	}
	if !b.client(t, vip4.Addr()).ask(time.Second) {
		t.Error("the address does not answer")
	}
	stop()
	v.said.await(t, "not held", notHeld)
	a.nft(t, "flush ruleset") // while nothing is held
	defer v.keep(2)()
	v.said.await(t, "held", held(2))
	if got := strings.Count(a.rulesets(t), "expires"); got != 3 {
		t.Errorf("%d lease elements after the ruleset was flushed in between, want 3", got)
	}
}
