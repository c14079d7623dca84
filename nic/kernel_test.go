package nic

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A link that flaps twenty times a second makes few reports, never a wrong one at the end, and is up again once it is quiet (S4-47).
func TestWatcher_flapping(t *testing.T) {
	_, far := pair(t, "sip0", "far0")
	m := by("sip0")
	m.DebounceUp = 300 * time.Millisecond
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
				t.Skip("the gateway is silenced with nft, which isn't there")
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
	m.Gateway, m.GatewayPeriod, m.GatewayFall = netip.MustParseAddr("10.9.11.254"), 200*time.Millisecond, 20
	s := watch(t, m)
	s.gatewayIs("at start", ReachAnswering)
	counted := "table netdev count { chain in { type filter hook ingress device lan0 priority 0; " +
		"ether type arp ether daddr ff:ff:ff:ff:ff:ff counter; ether type arp counter; }\n}\n"
	h.nft(t, counted)
	time.Sleep(time.Second)
	rules := h.list(t)
	if !strings.Contains(rules, "ff:ff:ff:ff:ff:ff counter packets 0 ") || strings.Contains(rules, "arp counter packets 0 ") {
		t.Errorf("want requests, but none to everybody: %s", rules)
	}
	h.do(t, func() error {
		l, err := netlink.LinkByName("lan0")
		return errors.Join(err, netlink.LinkSetHardwareAddr(l, []byte{2, 0, 0, 0, 0, 0x77}), os.WriteFile("/proc/sys/net/ipv4/conf/lan0/arp_notify", []byte("0"), 0o644))
	})
	time.Sleep(3 * time.Second)
	if rules = h.list(t); strings.Contains(rules, "ff:ff:ff:ff:ff:ff counter packets 0 ") {
		t.Errorf("want requests to everybody: %s", rules)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gateways) != 1 {
		t.Errorf("got %+v, want it answering all the time", s.gateways)
	}
}

func (h host) list(t *testing.T) (rules string) {
	t.Helper()
	h.do(t, func() error {
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		rules = string(out)
		return err
	})
	return rules
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
