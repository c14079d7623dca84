package nic

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Each change of a real interface is told once: set down, lost carrier, removed, made again (S4-47).
func TestWatcher_followsLink(t *testing.T) {
	remove("sip0")
	s := watch(t, by("sip0"))
	if r := s.says("at start", "sip0", "there is no interface sip0"); r.Up || r.Found {
		t.Errorf("at start: got %+v, want down and never found", r)
	}
	for range 2 {
		do(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sip0"}, PeerName: "far"}))
		near, far := named(t, "sip0"), named(t, "far")
		s.says("made", "sip0", "sip0 is set down by an administrator")
		do(t, netlink.LinkSetUp(far))
		do(t, netlink.LinkSetUp(near))
		if r := s.says("set up", "sip0", "sip0 is up"); !r.Up || r.Link != "sip0" || !r.Found || r.Since.IsZero() {
			t.Errorf("set up: got %+v", r)
		}
		do(t, netlink.LinkSetDown(far))
		if r := s.says("cable pulled", "sip0", "no carrier on sip0"); r.Up {
			t.Errorf("cable pulled: got %+v, want down", r)
		}
		do(t, netlink.LinkSetUp(far))
		s.says("cable back", "sip0", "sip0 is up")
		do(t, netlink.LinkSetDown(near))
		s.says("set down", "sip0", "sip0 is set down by an administrator")
		do(t, netlink.LinkSetUp(near))
		s.says("set up again", "sip0", "sip0 is up")
		do(t, netlink.LinkDel(near))
		if r := s.says("removed", "sip0", "sip0 was removed"); r.Up {
			t.Errorf("removed: got %+v, want down", r)
		}
	}
}

// The interface is known by its address: loss of it is a failure, also with a carrier, and it may come back elsewhere (S4-47, S4-50).
func TestWatcher_followsAddress(t *testing.T) {
	for _, c := range []struct{ name, cidr, addr string }{
		{"IPv4", "10.9.0.1/24", "10.9.0.1"}, {"IPv6", "fd09::1/64", "fd09::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, _ := pair(t, "sip0", "far0")
			other, _ := pair(t, "sip1", "far1")
			a := address(t, c.cidr)
			do(t, netlink.AddrAdd(near, a))
			s := watch(t, carrying("sip-nic", c.addr))
			if r := s.says("at start", "sip-nic", "sip0 is up"); !r.Up || r.Link != "sip0" || r.Address.String() != c.addr {
				t.Errorf("at start: got %+v", r)
			}
			do(t, netlink.AddrDel(near, a))
			if r := s.says("taken away", "sip-nic", "sip0 no longer has "+c.addr); r.Up || r.Link != "sip0" {
				t.Errorf("taken away: got %+v", r)
			}
			do(t, netlink.AddrAdd(near, a))
			s.says("put back", "sip-nic", "sip0 is up")
			do(t, netlink.AddrDel(near, a))
			do(t, netlink.AddrAdd(other, a))
			s.says("moved", "sip-nic", "sip1 is up")
			do(t, netlink.LinkSetDown(other))
			s.says("set down", "sip-nic", "sip1 is set down by an administrator") // IPv6 addresses vanish with that
			do(t, netlink.LinkDel(other))
			if r := s.says("removed", "sip-nic", "sip1 was removed"); r.Up || r.Link != "sip1" {
				t.Errorf("removed: got %+v", r)
			}
			do(t, netlink.AddrAdd(near, a))
			s.says("somewhere else", "sip-nic", "sip0 is up")
		})
	}
}

// An address that was never anywhere is told as such, and seen when it comes.
func TestWatcher_addressComes(t *testing.T) {
	s := watch(t, carrying("sip-nic", "10.9.1.1"))
	if r := s.says("at start", "sip-nic", "no interface has 10.9.1.1"); r.Up || r.Found {
		t.Errorf("at start: got %+v, want down and never found", r)
	}
	near, _ := pair(t, "sip0", "far0")
	do(t, netlink.AddrAdd(near, address(t, "10.9.1.1/24")))
	if r := s.says("added", "sip-nic", "sip0 is up"); !r.Found {
		t.Errorf("added: got %+v, want it found", r)
	}
}

// A named interface that must carry an address fails without it.
func TestWatcher_linkAndAddress(t *testing.T) {
	near, _ := pair(t, "sip0", "far0")
	other, _ := pair(t, "sip1", "far1")
	a := address(t, "10.9.2.1/24")
	do(t, netlink.AddrAdd(other, a))
	m := by("sip0")
	m.Address = netip.MustParseAddr("10.9.2.1")
	s := watch(t, m)
	s.says("elsewhere", "sip0", "sip0 does not have 10.9.2.1")
	do(t, netlink.AddrAdd(near, a))
	s.says("added", "sip0", "sip0 is up")
	do(t, netlink.AddrDel(near, a))
	s.says("taken away", "sip0", "sip0 no longer has 10.9.2.1")
}

// An IPv6 address is not there before duplicate address detection is over.
func TestWatcher_tentative(t *testing.T) {
	near, _ := pair(t, "sip0", "far0")
	s := watch(t, by("sip0"), carrying("sip-nic", "fd09:3::1"))
	s.says("at start", "sip0", "sip0 is up")
	a := address(t, "fd09:3::1/64")
	a.Flags = 0
	do(t, netlink.AddrAdd(near, a))
	s.says("detection over", "sip-nic", "sip0 is up")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.states {
		if r.Text == "fd09:3::1 on sip0 is still tentative: the kernel looks for duplicates" && !r.Up {
			return
		}
	}
	t.Errorf("got %+v, want a report that the address is tentative", s.states)
}

// What is known by its name fails when it is renamed; what is known by its address goes on under the new name.
func TestWatcher_rename(t *testing.T) {
	near, far := pair(t, "sip0", "far0")
	do(t, netlink.AddrAdd(near, address(t, "10.9.4.1/24")))
	s := watch(t, by("sip0"), carrying("sip-nic", "10.9.4.1"))
	s.says("at start", "sip0", "sip0 is up")
	s.says("at start", "sip-nic", "sip0 is up")
	do(t, netlink.LinkSetDown(near))
	s.says("set down", "sip0", "sip0 is set down by an administrator")
	do(t, netlink.LinkSetName(near, "wan0"))
	t.Cleanup(func() { remove("wan0") })
	if r := s.says("renamed", "sip0", "sip0 was renamed to wan0"); r.Up {
		t.Errorf("renamed: got %+v, want down", r)
	}
	do(t, netlink.LinkSetUp(near))
	if r := s.says("renamed", "sip-nic", "wan0 is up"); r.Link != "wan0" {
		t.Errorf("renamed: got %+v, want wan0", r)
	}
	do(t, netlink.LinkSetDown(far))
	s.says("cable pulled", "sip-nic", "no carrier on wan0")
	do(t, netlink.LinkSetName(far, "sip0")) // another takes the name
	do(t, netlink.LinkSetUp(far))
	s.says("name taken", "sip0", "sip0 is up")
}

// An interface may be named by an alternative name, also a long one, and is recognised when it is made again under that.
func TestWatcher_alternativeName(t *testing.T) {
	const long = "the-interface-for-sip"
	s := watch(t, by("sipalt"), by(long))
	s.says("at start", "sipalt", "there is no interface sipalt")
	for range 2 {
		near, _ := pair(t, "sip0", "far0")
		do(t, netlink.LinkAddAltName(near, "sipalt"))
		do(t, netlink.LinkAddAltName(near, long))
		for _, name := range []string{"sipalt", long} {
			if r := s.says("named", name, "sip0 is up"); r.Link != "sip0" {
				t.Errorf("named: got %+v", r)
			}
		}
		do(t, netlink.LinkDelAltName(near, "sipalt"))
		s.says("name taken away", "sipalt", "sip0 is no longer called sipalt")
		do(t, netlink.LinkDel(near))
		s.says("removed", long, "sip0 was removed")
		s.says("removed", "sipalt", "sip0 was removed")
	}
}

// An interface that moves to another namespace is gone, and back when it comes back.
func TestWatcher_movedAway(t *testing.T) {
	near, _ := pair(t, "sip0", "far0")
	s := watch(t, by("sip0"))
	s.says("at start", "sip0", "sip0 is up")
	h := newHost(t)
	here, err := netns.Get()
	do(t, err)
	defer here.Close()
	do(t, netlink.LinkSetNsFd(near, int(h.ns)))
	s.says("moved away", "sip0", "sip0 was removed")
	h.do(t, func() error {
		l, err := netlink.LinkByName("sip0")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(here))
	})
	s.says("moved back", "sip0", "sip0 is set down by an administrator")
	do(t, netlink.LinkSetUp(named(t, "sip0")))
	s.says("set up", "sip0", "sip0 is up")
}

// Two interfaces are watched at once and judged each by itself (S4-10).
func TestWatcher_twoNICs(t *testing.T) {
	sip, sipFar := pair(t, "sip0", "far0")
	tlib, tlibFar := pair(t, "tlib0", "far1")
	do(t, netlink.AddrAdd(sip, address(t, "10.9.5.1/24")))
	do(t, netlink.AddrAdd(tlib, address(t, "10.9.6.1/24")))
	s := watch(t, carrying("sip-nic", "10.9.5.1"), carrying("tlib-nic", "10.9.6.1"))
	s.says("at start", "sip-nic", "sip0 is up")
	s.says("at start", "tlib-nic", "tlib0 is up")
	do(t, netlink.LinkSetDown(sipFar))
	s.says("SIP cable pulled", "sip-nic", "no carrier on sip0")
	do(t, netlink.LinkSetUp(sipFar))
	s.says("SIP cable back", "sip-nic", "sip0 is up")
	do(t, netlink.LinkSetDown(tlibFar))
	s.says("management cable pulled", "tlib-nic", "no carrier on tlib0")
	s.mu.Lock()
	defer s.mu.Unlock()
	down := map[string]int{}
	for _, r := range s.states {
		if !r.Up {
			down[r.Name]++
		}
	}
	if down["sip-nic"] != 1 || down["tlib-nic"] != 1 {
		t.Errorf("got %v failures, want one each", down)
	}
}

// A loopback interface is up whatever its state, but must carry its address.
func TestWatcher_loopback(t *testing.T) {
	lo := named(t, "lo")
	do(t, netlink.LinkSetUp(lo))
	s := watch(t, by("lo"), carrying("sip-nic", "10.9.8.1"))
	s.says("at start", "lo", "lo is up")
	a := address(t, "10.9.8.1/32")
	do(t, netlink.AddrAdd(lo, a))
	s.says("added", "sip-nic", "lo is up")
	do(t, netlink.AddrDel(lo, a))
	s.says("taken away", "sip-nic", "lo no longer has 10.9.8.1")
}

// An interface without any operational state of its own counts as up.
func TestWatcher_unknownState(t *testing.T) {
	tun := add(t, &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Queues: 1}).(*netlink.Tuntap)
	defer func() {
		for _, f := range tun.Fds {
			f.Close()
		}
	}()
	do(t, netlink.LinkSetUp(named(t, "tun0")))
	s := watch(t, by("tun0"))
	s.says("at start", "tun0", "tun0 is up")
	if got := named(t, "tun0").Attrs().OperState; got != netlink.OperUnknown {
		t.Logf("the state is %v: this doesn't show what it is to show", got)
	}
}

// A bridge is up with one forwarding port.
func TestWatcher_bridge(t *testing.T) {
	br := add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
	var fars []netlink.Link
	for i := range 2 {
		near, far := pair(t, fmt.Sprintf("port%d", i), fmt.Sprintf("far%d", i))
		do(t, netlink.LinkSetMaster(near, br))
		fars = append(fars, far)
	}
	do(t, netlink.LinkSetUp(br))
	s := watch(t, by("br0"))
	s.says("at start", "br0", "br0 is up")
	before := s.count()
	do(t, netlink.LinkSetDown(fars[0]))
	other := watch(t, by("port0"))
	other.says("one port lost", "port0", "no carrier on port0")
	if got := s.count(); got != before {
		t.Errorf("one port lost: got %d reports, want none", got-before)
	}
	do(t, netlink.LinkSetDown(fars[1]))
	s.says("both ports lost", "br0", "no carrier on br0: none of its ports forwards")
	do(t, netlink.LinkSetUp(fars[0]))
	s.says("one port back", "br0", "br0 is up")
}

// A bond is up with one live slave.
func TestWatcher_bond(t *testing.T) {
	b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
	b.Mode, b.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 10
	bond := add(t, b)
	var fars []netlink.Link
	for i := range 2 {
		near, far := pair(t, fmt.Sprintf("port%d", i), fmt.Sprintf("far%d", i))
		do(t, netlink.LinkSetDown(near))
		do(t, netlink.LinkSetMaster(near, bond))
		fars = append(fars, far)
	}
	do(t, netlink.LinkSetUp(bond))
	s := watch(t, by("bond0"))
	s.says("at start", "bond0", "bond0 is up")
	before := s.count()
	do(t, netlink.LinkSetDown(fars[0]))
	other := watch(t, by("port0"))
	other.says("one slave lost", "port0", "no carrier on port0")
	do(t, netlink.LinkSetDown(fars[1]))
	s.says("both slaves lost", "bond0", "no carrier on bond0: none of its members is up")
	if got := s.count(); got != before+1 {
		t.Errorf("got %d reports of two lost slaves, want one", got-before)
	}
	do(t, netlink.LinkSetUp(fars[0]))
	s.says("one slave back", "bond0", "bond0 is up")
}

// A VLAN and a macvlan fail with the interface below them.
func TestWatcher_stacked(t *testing.T) {
	for _, c := range []struct {
		kind string
		make func(parent int) netlink.Link
	}{
		{"vlan", func(parent int) netlink.Link {
			return &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "top0", ParentIndex: parent}, VlanId: 5}
		}},
		{"macvlan", func(parent int) netlink.Link {
			return &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "top0", ParentIndex: parent}, Mode: netlink.MACVLAN_MODE_BRIDGE}
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			near, far := pair(t, "sip0", "far0")
			top := add(t, c.make(near.Attrs().Index))
			do(t, netlink.LinkSetUp(top))
			s := watch(t, by("top0"))
			s.says("at start", "top0", "top0 is up")
			do(t, netlink.LinkSetDown(far))
			s.says("cable of its parent pulled", "top0", "no carrier on top0: sip0 below it is down")
			do(t, netlink.LinkSetUp(far))
			s.says("cable back", "top0", "top0 is up")
			do(t, netlink.LinkSetDown(near))
			s.await("parent set down", "top0", func(r State) bool { return !r.Up })
			do(t, netlink.LinkSetUp(near))
			do(t, netlink.LinkSetUp(top)) // a VLAN is set down with its parent
			s.says("parent set up", "top0", "top0 is up")
			do(t, netlink.LinkDel(near))
			s.says("parent removed", "top0", "top0 was removed")
		})
	}
}

// Among some hundred interfaces, which come and go, one is watched; their events cost no reports.
func TestWatcher_manyLinks(t *testing.T) {
	const n = 150 // pairs
	near, far := pair(t, "sip0", "far0")
	do(t, netlink.AddrAdd(near, address(t, "10.9.7.1/24")))
	s := watch(t, by("sip0"), carrying("sip-nic", "10.9.7.1"))
	s.says("at start", "sip-nic", "sip0 is up")
	s.says("at start", "sip0", "sip0 is up")
	before := s.count()
	for i := range n {
		name := fmt.Sprintf("many%d", i)
		do(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: fmt.Sprintf("more%d", i)}))
		t.Cleanup(func() { remove(name) })
		do(t, netlink.AddrAdd(named(t, name), address(t, fmt.Sprintf("10.10.%d.%d/32", i/250, i%250+1))))
	}
	if got := s.count(); got != before {
		t.Errorf("got %d reports of other interfaces, want none", got-before)
	}
	do(t, netlink.LinkSetDown(far))
	s.says("cable pulled", "sip0", "no carrier on sip0")
	s.says("cable pulled", "sip-nic", "no carrier on sip0")
	do(t, netlink.AddrDel(near, address(t, "10.9.7.1/24")))
	s.await("taken away", "sip-nic", func(r State) bool { return r.Text == "sip0 no longer has 10.9.7.1" })
}
