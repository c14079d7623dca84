package nic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// A link that flaps twenty times a second makes few reports, never a wrong one at the end, and is up again once it is quiet (S4-47).
func TestWatcher_flapping(t *testing.T) {
	_, far := pair(t, "sip0", "far0")
	m := by("sip0")
	m.DebounceUp = time.Second
	s := watch(t, m)
	s.says("at start", "sip0", "sip0 is up")
	before := s.count()
	for range 20 {
		do(t, netlink.LinkSetDown(far))
		time.Sleep(25 * time.Millisecond)
		do(t, netlink.LinkSetUp(far))
		time.Sleep(25 * time.Millisecond)
	}
	s.await("quiet", "sip0", func(r State) bool { return r.Up && !r.Flapping })
	s.mu.Lock()
	flapped := false
	for _, r := range s.states {
		flapped = flapped || r.Flapping && !r.Up
	}
	s.mu.Unlock()
	if got := s.count() - before; got > 10 || !flapped {
		t.Errorf("got %d reports of 40 changes, flapping %v; want few and flapping", got, flapped)
	}
}

// However fast it changes, the last report is the truth.
func TestWatcher_stormEndsRight(t *testing.T) {
	near, far := pair(t, "sip0", "far0")
	a := address(t, "10.9.9.1/24")
	do(t, netlink.AddrAdd(near, a))
	s := watch(t, by("sip0"), carrying("sip-nic", "10.9.9.1"))
	for range 5 {
		for range 40 {
			do(t, errors.Join(netlink.LinkSetDown(far), netlink.AddrDel(near, a), netlink.LinkSetUp(far), netlink.AddrAdd(near, a)))
		}
		s.await("ends up", "sip0", func(r State) bool { return r.Up })
		s.await("ends up", "sip-nic", func(r State) bool { return r.Up })
		do(t, errors.Join(netlink.LinkSetDown(far), netlink.AddrDel(near, a)))
		s.says("ends down", "sip0", "no carrier on sip0")
		s.says("ends without address", "sip-nic", "sip0 no longer has 10.9.9.1")
		do(t, errors.Join(netlink.LinkSetUp(far), netlink.AddrAdd(near, a)))
	}
}

// When events are lost because they came faster than they were read, everything is looked at again.
func TestEvents_lost(t *testing.T) {
	near, _ := pair(t, "sip0", "far0")
	e, err := openEvents(1) // the kernel's least
	do(t, err)
	for range 50 {
		do(t, errors.Join(netlink.LinkSetDown(near), netlink.LinkSetUp(near))) // nobody reads as yet
	}
	done := make(chan struct{})
	go func() { e.run(); close(done) }()
	for end := time.After(patience); ; {
		select {
		case <-e.wake():
		case <-end:
			t.Fatal("got no notice of lost events")
		}
		if got := e.take(); got.err != nil {
			t.Fatal(got.err)
		} else if got.all {
			break
		}
	}
	do(t, netlink.LinkSetDown(near)) // it still hears
	for end := time.After(patience); ; {
		select {
		case <-e.wake():
		case <-end:
			t.Fatal("got no event after some were lost")
		}
		if got := e.take(); got.all || got.links[near.Attrs().Index] { // its buffer is so small that it may lose these, too
			break
		}
	}
	do(t, e.close())
	<-done
}

// A subscription that breaks is made anew, and what changed meanwhile is told.
func TestWatcher_resubscribes(t *testing.T) {
	_, far := pair(t, "sip0", "far0")
	told := make(chan State, 64)
	w, err := New(Options{Monitors: []Monitor{by("sip0")}, Report: func(s State) { told <- s }, Logger: zap.NewNop()})
	do(t, err)
	for _, want := range []string{"sip0 is up", "no carrier on sip0"} {
		k, err := openKernel()
		do(t, err)
		ctx, stop := context.WithTimeout(t.Context(), patience)
		ended := make(chan error, 1)
		var running sync.WaitGroup
		running.Go(func() { ended <- w.follow(ctx, k, newPackets()) })
		for got := ""; got != want; {
			select {
			case s := <-told:
				got = s.Text
			case <-ctx.Done():
				t.Fatalf("got %q last, want %q", got, want)
			}
		}
		do(t, k.events.close())
		if err := <-ended; err == nil {
			t.Error("follow: got nil, want that the subscription is broken")
		}
		running.Wait()
		stop()
		k.close()
		do(t, netlink.LinkSetDown(far)) // nobody hears it
	}
	if len(told) != 0 {
		t.Errorf("got %d more reports, want none", len(told))
	}
}

// An IPv6 address that another host has already is not usable, and told as such.
func TestWatcher_duplicateAddress(t *testing.T) {
	h := router(t, "10.9.12.1/24", "10.9.12.2")
	h.do(t, func() error {
		l, err := netlink.LinkByName("lan0")
		return errors.Join(err, netlink.AddrAdd(l, address(t, "fd09:12::1/64")))
	})
	s := watch(t, by("sip0"), carrying("sip-nic", "fd09:12::1"))
	s.says("at start", "sip0", "sip0 is up")
	a := address(t, "fd09:12::1/64")
	a.Flags = 0
	do(t, netlink.AddrAdd(named(t, "sip0"), a))
	if r := s.says("duplicate", "sip-nic", "fd09:12::1 on sip0 is not usable: another host has it too"); r.Up {
		t.Errorf("got %+v, want down", r)
	}
}

// router gives sip0 in this namespace an address, and another namespace at its other end that has the gateway's.
func router(t *testing.T, cidr, gateway string) host {
	t.Helper()
	h := newHost(t)
	remove("sip0")
	do(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sip0"}, PeerName: "lan0", PeerNamespace: netlink.NsFd(h.ns)}))
	t.Cleanup(func() { remove("sip0") })
	near := named(t, "sip0")
	do(t, errors.Join(netlink.AddrAdd(near, address(t, cidr)), netlink.LinkSetUp(near)))
	bits := cidr[strings.Index(cidr, "/"):]
	h.do(t, func() error {
		l, err := netlink.LinkByName("lan0")
		return errors.Join(err, netlink.AddrAdd(l, address(t, gateway+bits)), netlink.LinkSetUp(l))
	})
	return h
}

func (h host) nft(t *testing.T, rules string) {
	t.Helper()
	h.do(t, func() error {
		c := exec.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(rules)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}

// A gateway that stops answering ARP or neighbour solicitations is told as a fact of its own; the interface stays up.
func TestWatcher_gateway(t *testing.T) {
	const deaf4 = "table arp deaf { chain in { type filter hook input priority 0; drop; }\n}\n"
	const deaf6 = "table ip6 deaf { chain in { type filter hook input priority 0; icmpv6 type nd-neighbor-solicit drop; }\n}\n"
	for _, c := range []struct{ name, cidr, gateway, deaf, table, how string }{
		{"IPv4", "10.9.10.1/24", "10.9.10.254", deaf4, "arp", "ARP"},
		{"IPv6", "fd09:10::1/64", "fd09:10::fe", deaf6, "ip6", "neighbour solicitations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath("nft"); err != nil {
				t.Fatal("nft is not installed: contrib/lab/setup.sh installs it")
			}
			h := router(t, c.cidr, c.gateway)
			m := by("sip0")
			m.Gateway, m.GatewayPeriod = netip.MustParseAddr(c.gateway), 50*time.Millisecond
			s := watch(t, m)
			s.says("at start", "sip0", "sip0 is up")
			if g := s.gatewayIs("at start", ReachAnswering); g.Text != "gateway "+c.gateway+" answers" || g.Link != "sip0" || g.Since.IsZero() {
				t.Errorf("at start: got %+v", g)
			}
			h.nft(t, c.deaf)
			want := "gateway " + c.gateway + " has not answered " + c.how + " for 150ms"
			if g := s.gatewayIs("deaf", ReachSilent); g.Text != want {
				t.Errorf("deaf: got %+v, want %q", g, want)
			}
			h.nft(t, "delete table "+c.table+" deaf\n")
			s.gatewayIs("hears again", ReachAnswering)
			s.says("all the time", "sip0", "sip0 is up")

			do(t, netlink.LinkSetDown(named(t, "sip0"))) // also takes the IPv6 address, but the interface is known by its name
			s.gatewayIs("set down", ReachUnknown)
			do(t, netlink.LinkSetUp(named(t, "sip0")))
			s.gatewayIs("set up", ReachAnswering)

			remove("sip0")
			s.gatewayIs("removed", ReachUnknown)
			router(t, c.cidr, c.gateway)
			s.gatewayIs("made again", ReachAnswering)
		})
	}
}

// The gateway is asked at its own hardware address while that is known to answer, and everywhere once it isn't: one that was replaced
// by another machine is found.
func TestWatcher_gatewayReplaced(t *testing.T) {
	h := router(t, "10.9.11.1/24", "10.9.11.254")
	m := by("sip0")
	m.Gateway, m.GatewayPeriod, m.GatewayFall = netip.MustParseAddr("10.9.11.254"), 500*time.Millisecond, 40
	s := watch(t, m)
	s.gatewayIs("at start", ReachAnswering)
	h.nft(t, "table netdev count { chain in { type filter hook ingress device lan0 priority 0; "+
		"ether type arp ether daddr ff:ff:ff:ff:ff:ff counter; ether type arp counter; }\n}\n")
	h.until(t, "requests", func(everywhere, all int) bool { return all >= 2 })
	if everywhere, all := h.requests(t); everywhere != 0 {
		t.Errorf("got %d of %d requests to everybody, want none", everywhere, all)
	}
	h.do(t, func() error {
		l, err := netlink.LinkByName("lan0")
		return errors.Join(err, netlink.LinkSetHardwareAddr(l, []byte{2, 0, 0, 0, 0, 0x77}))
	})
	h.until(t, "requests to everybody", func(everywhere, _ int) bool { return everywhere > 0 })
	everywhere, all := h.requests(t)
	h.until(t, "requests to it alone again", func(e, a int) bool { return a-all > e-everywhere })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gateways) != 1 {
		t.Errorf("got %+v, want it answering all the time", s.gateways)
	}
}

// requests counts the ARP packets that came to the gateway: those to everybody, and all.
func (h host) requests(t *testing.T) (everywhere, all int) {
	t.Helper()
	h.do(t, func() error {
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		counts := regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1)
		if err != nil || len(counts) != 2 {
			return fmt.Errorf("nft list ruleset: %w: %s", err, out)
		}
		everywhere, _ = strconv.Atoi(string(counts[0][1]))
		all, err = strconv.Atoi(string(counts[1][1]))
		return err
	})
	return everywhere, all
}

func (h host) until(t *testing.T, what string, ok func(everywhere, all int) bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok(h.requests(t)) {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// A gateway behind an interface without hardware addresses can't be asked, and that is told.
func TestWatcher_gatewayWithoutARP(t *testing.T) {
	do(t, netlink.LinkSetUp(named(t, "lo")))
	m := by("lo")
	m.Gateway = netip.MustParseAddr("127.0.0.9")
	s := watch(t, m)
	if g := s.gatewayIs("at start", ReachUnknown); g.Text != "gateway 127.0.0.9 can't be asked: lo resolves no addresses" {
		t.Errorf("got %+v", g)
	}
}
