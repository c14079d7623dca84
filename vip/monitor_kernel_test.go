package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// S4-42, S4-44, S4-46: an address that somebody removes from the primary is back at once; one 52029, one 52030 each time.
func TestMonitor_primaryRepairs(t *testing.T) {
	a, _ := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	v.findings.none(t)
	a.removeByHand(t)
	f := v.findings.await(t, KindMissing, 1)
	if f.Event != "00-52029" || f.Health != HealthFixing || f.Address != vip4.Addr() || !strings.Contains(f.Text, vip4.Addr().String()) {
		t.Errorf("%+v", f)
	}
	if f = v.findings.await(t, KindRepaired, 1); f.Event != "00-52030" || f.Health != HealthOK {
		t.Errorf("%+v", f)
	}
	eventually(t, "back", func() bool { return len(a.has(t)) == len(group) })
	time.Sleep(3 * v.mon.o.Grace)
	if all := v.findings.of(KindMissing, KindUnexpected, KindPersistent, KindRepaired); len(all) != 2 {
		t.Errorf("findings %+v", all)
	}
}

// S4-43, S4-44, S4-46: an address that somebody gives the backup, on whatever interface, is removed.
func TestMonitor_backupDrops(t *testing.T) {
	a, _ := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	v.backup(t, 2)
	v.findings.none(t)
	for i, name := range []string{wire, "lo"} {
		time.Sleep(flapSpan * v.mon.o.Grace)
		a.do(t, func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: vip4.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}})
		})
		if f := v.findings.await(t, KindUnexpected, i+1); f.Event != "00-52029" || f.Address != vip4.Addr() {
			t.Errorf("%+v", f)
		}
		v.findings.await(t, KindRepaired, i+1)
		if got := a.has(t); len(got) != 0 {
			t.Errorf("still there: %v", got)
		}
	}
}

// A change of the role, in both directions and by a lease that ends, is no failure.
func TestMonitor_roleChanges(t *testing.T) {
	a, _ := pair(t)
	_, v := overseeVIP(t, a)
	for epoch := supervisor.Epoch(1); epoch < 10; epoch += 3 {
		v.primary(t, epoch)
		v.backup(t, epoch+1)
		v.primary(t, epoch+2)
		v.until()
		eventually(t, "the lease ends", func() bool { return len(a.has(t)) == 0 })
	}
	v.findings.none(t)
}

// S4-45: whoever removes the address again and again is fought within bounds, and it ends as persistent; when he stops, it is over.
func TestMonitor_repairsAreBounded(t *testing.T) {
	a, _ := pair(t)
	r, v := overseeVIP(t, a)
	v.primary(t, 1)
	stop, removed := make(chan struct{}), 0
	ended := a.start(func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		for {
			select {
			case <-stop:
				return nil
			case <-time.After(time.Millisecond):
				if netlink.AddrDel(l, &netlink.Addr{IPNet: ipnet(vip4)}) == nil {
					removed++
				}
			}
		}
	})
	f := v.findings.await(t, KindPersistent, 1)
	if f.Health != HealthBad {
		t.Errorf("%+v", f)
	}
	time.Sleep(2 * time.Second)
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	began := len(v.findings.of(KindMissing))
	v.findings.await(t, KindRepaired, began)
	if n := len(v.findings.of(KindPersistent)); began > 3 || n != 1 {
		t.Errorf("%d failures, %d persistent", began, n)
	}
	if n := r.Repairs(); n > 20 || removed > 20 {
		t.Errorf("%d repairs, removed %d times", n, removed)
	}
}

// S4-45: what repairs don't help against is persistent, and repaired more and more seldom.
func TestMonitor_persists(t *testing.T) {
	a, _ := pair(t)
	var repairs atomic.Int32
	v := oversee(t, a, stubborn{func() { repairs.Add(1) }}, func(supervisor.Hold) {})
	v.set(supervisor.Hold{Epoch: 1})
	time.Sleep(2 * v.mon.o.Grace)
	a.addByHand(t)
	v.findings.await(t, KindUnexpected, 1)
	if f := v.findings.await(t, KindPersistent, 1); f.Health != HealthBad {
		t.Errorf("%+v", f)
	}
	time.Sleep(time.Second)
	if n := repairs.Load(); n < 2 || n > 5 {
		t.Errorf("%d repairs", n)
	}
	a.removeByHand(t)
	v.findings.await(t, KindRepaired, 1)
}

func (h host) addByHand(t testing.TB) {
	t.Helper()
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		return errors.Join(err, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipnet(vip4)}))
	})
}

// The slow poll is the second line: it finds what no event tells.
func TestMonitor_poll(t *testing.T) {
	a, _ := pair(t)
	found := &findings{}
	o := DefaultMonitorOptions()
	o.Addresses, o.Interface, o.Clock, o.Effector, o.Report = group, wire, raw.Clock, stubborn{func() {}}, found.add
	o.Grace, o.Poll = 100*time.Millisecond, 100*time.Millisecond
	m, err := NewMonitor(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := a.start(func() error {
		w, err := openWatch(m)
		if err != nil {
			return err
		}
		w.events.Close() // so there are no events
		w.run(ctx)
		return nil
	})
	m.Set(supervisor.Hold{Epoch: 1})
	time.Sleep(300 * time.Millisecond)
	a.addByHand(t)
	found.await(t, KindUnexpected, 1)
	a.removeByHand(t)
	found.await(t, KindRepaired, 1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stubborn is an effector that repairs nothing by itself.
type stubborn struct{ repair func() }

func (s stubborn) Repair()  { s.repair() }
func (stubborn) Busy() bool { return false }

// S4-41 for addresses that scripts bring up: presence is looked up by netlink, and the script of the role is run again.
func TestMonitor_script(t *testing.T) {
	a, _ := pair(t)
	s, stop := launchScript(t, a)
	defer stop()
	v := oversee(t, a, s, s.Set)
	v.primary(t, 1)
	v.findings.none(t)
	a.removeByHand(t)
	v.findings.await(t, KindMissing, 1)
	v.findings.await(t, KindRepaired, 1)
	if got := a.has(t); len(got) != len(group) {
		t.Errorf("there are %v", got)
	}
	v.backup(t, 2)
	a.addByHand(t)
	v.findings.await(t, KindUnexpected, 1)
	v.findings.await(t, KindRepaired, 2)
	if got := a.has(t); len(got) != 0 {
		t.Errorf("there are %v", got)
	}
}

// An interface that goes away and comes back, by another index, is watched and listened to again.
func TestMonitor_interfaceGoesAndComes(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	a.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		return errors.Join(err, netlink.LinkDel(l))
	})
	v.findings.await(t, KindMissing, 1)
	v.findings.await(t, KindPersistent, 1)
	a.do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: wire}, PeerName: wire, PeerNamespace: netlink.NsFd(b.ns)})
	})
	a.do(t, func() error { return up("10.77.0.1/24", "fd77::1/64") })
	b.do(t, func() error { return up("10.77.0.2/24", "fd77::2/64") })
	v.findings.await(t, KindRepaired, 1)
	a.awaitCarrier(t)
	for _, p := range group {
		b.inject(t, announcement(p.Addr(), stranger[:])...)
	}
	v.findings.await(t, KindConflict, len(group))
}

// RFC 5227 and ND: another host that claims the addresses is answered at once, told of with its MAC, and not answered without end.
func TestMonitor_conflict(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	mac := a.mac(t)
	for _, p := range group {
		b.believe(t, p.Addr(), mac, netlink.NUD_STALE)
		frames := announcement(p.Addr(), stranger[:])
		want := string(announcement(p.Addr(), mac[:])[0])
		defended := func(f []byte) bool { return string(f) == want }
		time.Sleep(1500 * time.Millisecond) // the schedule's next announcements are at 2 s and 5 s
		s := b.sniff(t)
		began := time.Now()
		b.inject(t, frames...)
		if s.next(5*time.Second, defended) == nil {
			t.Errorf("%v was not defended", p)
		}
		var flood [][]byte
		for range 500 {
			flood = append(flood, frames...)
		}
		b.inject(t, flood...)
		n := 1
		for s.next(time.Second, defended) != nil {
			n++
		}
		spans := 1 + int(time.Since(began)/defendSpan)
		if n < 2 || n > spans*defendLimit+2 {
			t.Errorf("%v was defended %d times within %v", p, n, time.Since(began))
		}
		told := 0
		for _, f := range v.findings.of(KindConflict) {
			if f.Address == p.Addr() {
				told++
				if f.MAC != stranger || f.Health != HealthOK {
					t.Errorf("%+v", f)
				}
			}
		}
		if told < 1 || told > spans {
			t.Errorf("%v: told %d times within %v", p, told, time.Since(began))
		}
	}
	if got := a.has(t); len(got) != len(group) {
		t.Errorf("there are %v", got)
	}
}

// A real host that has the addresses too, as one with a wrong configuration does, gives itself away when it looks for a neighbour.
func TestMonitor_conflictOfKernels(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	b.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		for _, p := range group {
			err = errors.Join(err, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipnet(p), Flags: unix.IFA_F_NODAD}))
		}
		for to, from := range map[string]netip.Addr{"10.77.0.1": vip4.Addr(), "fd77::1": vip6.Addr()} {
			c, dialErr := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: from.AsSlice()}}).Dial("udp", net.JoinHostPort(to, "9"))
			if dialErr != nil {
				return dialErr
			}
			_, writeErr := c.Write([]byte("x"))
			err = errors.Join(err, writeErr, c.Close())
		}
		return err
	})
	v.findings.await(t, KindConflict, len(group))
	for _, f := range v.findings.of(KindConflict) {
		if f.MAC != b.mac(t) {
			t.Errorf("%+v", f)
		}
	}
}

// Who doesn't hold the address tells of a stranger that claims it, not of the other member, and sends nothing.
func TestMonitor_conflictAtBackup(t *testing.T) {
	a, b := pair(t)
	peer := netip.MustParseAddr("10.77.0.2")
	a.believe(t, peer, b.mac(t), netlink.NUD_STALE)
	_, v := overseeVIP(t, a, func(o *MonitorOptions) { o.Peers = []netip.Addr{peer} })
	v.set(supervisor.Hold{Epoch: 1})
	time.Sleep(100 * time.Millisecond)
	s := b.sniff(t)
	rightful := b.mac(t)
	for _, p := range group {
		b.inject(t, announcement(p.Addr(), rightful[:])...)
		b.inject(t, announcement(p.Addr(), stranger[:])...)
	}
	v.findings.await(t, KindConflict, len(group))
	for _, f := range v.findings.of(KindConflict) {
		if f.MAC != stranger {
			t.Errorf("%+v", f)
		}
	}
	if f := s.next(200*time.Millisecond, func(f []byte) bool {
		c, ok := arpClaim(f)
		d, nd := ndClaim(f)
		return ok && c.address == vip4.Addr() || nd && d.address == vip6.Addr()
	}); f != nil {
		t.Errorf("the backup sent %x", f)
	}
}

// A neighbour that has another MAC is told, alone and with everybody, and then has ours. Its own kernel says so.
func TestMonitor_staleNeighbour(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	n := neighboursOn(t, b, v.mon.Heard)
	time.Sleep(time.Second) // beyond the schedule's first announcements
	for i, p := range group {
		b.believe(t, p.Addr(), stranger, netlink.NUD_STALE)
		if f := v.findings.await(t, KindStaleNeighbour, i+1); f.MAC != stranger || f.Address != p.Addr() {
			t.Errorf("%+v", f)
		}
		v.findings.await(t, KindNeighbourFine, i+1)
		mac := a.mac(t)
		if got := b.neighbour(t, p.Addr()); string(got) != string(mac[:]) {
			t.Errorf("%v: neighbour has %v", p, got)
		}
	}
	for _, view := range n.Views() {
		if view.MAC != a.mac(t) || view.FromMAC != b.mac(t) || view.From.Is4() != view.Address.Is4() || !view.From.IsValid() {
			t.Errorf("%+v", view)
		}
	}
	if len(v.findings.of(KindNotPropagated)) > 0 {
		t.Error("not propagated")
	}
}

// A neighbour that can't be healed, here because its entry is permanent, is told three times; then it is reported.
func TestMonitor_notPropagated(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	neighboursOn(t, b, v.mon.Heard)
	s := b.sniff(t)
	b.believe(t, vip4.Addr(), stranger, netlink.NUD_PERMANENT)
	v.findings.await(t, KindStaleNeighbour, 1)
	f := v.findings.await(t, KindNotPropagated, 1)
	if f.MAC != stranger || !strings.Contains(f.Text, "10.77.0.2") {
		t.Errorf("%+v", f)
	}
	mac, to := a.mac(t), b.mac(t)
	want := string(directed(vip4.Addr(), mac[:], netip.Addr{}, to)[0])
	n := 0
	for s.next(100*time.Millisecond, func(f []byte) bool { return string(f) == want }) != nil {
		n++
	}
	if n != retellTries {
		t.Errorf("told %d times, want %d", n, retellTries)
	}
}

// An order to announce is carried out while the address is held, to the neighbour and to all, and else not.
func TestMonitor_Reannounce(t *testing.T) {
	a, b := pair(t)
	_, v := overseeVIP(t, a)
	v.primary(t, 1)
	time.Sleep(time.Second)
	s := b.sniff(t)
	mac, to := a.mac(t), b.mac(t)
	direct := string(directed(vip4.Addr(), mac[:], netip.Addr{}, to)[0])
	v.mon.Reannounce(netip.MustParseAddr("10.77.0.2"), to)
	if s.next(5*time.Second, func(f []byte) bool { return string(f) == direct }) == nil {
		t.Error("not announced")
	}
	v.backup(t, 2)
	s = b.sniff(t)
	v.mon.Reannounce(netip.Addr{}, to)
	if s.next(300*time.Millisecond, func(f []byte) bool { return string(f) == direct }) != nil {
		t.Error("announced without holding the address")
	}
}

// A stranger that floods the network with claims costs so many reads and no more.
func TestMonitor_flood(t *testing.T) {
	a, b := pair(t)
	var heard atomic.Int64
	mac := a.mac(t)
	e := make(chan *ears, 1)
	done := a.start(func() error {
		l, err := net.InterfaceByName(wire)
		if err != nil {
			return err
		}
		ears, err := openEars(group)
		if err != nil {
			return err
		}
		e <- ears
		if err := ears.use(link{l.Index, mac[:]}); err != nil {
			return err
		}
		return ears.sockets[0].listen(func(claim) { heard.Add(1) })
	})
	ears := <-e
	frame := announcement(vip4.Addr(), stranger[:])[0]
	var flood [][]byte
	for range 2000 {
		flood = append(flood, frame)
	}
	began := time.Now()
	sent := 0
	for time.Since(began) < time.Second {
		b.inject(t, flood...)
		sent += len(flood)
	}
	took := time.Since(began)
	if err := ears.close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, most := heard.Load(), int64(took/heardSpan+2)*heardLimit; n == 0 || n > most || int64(sent) <= most {
		t.Errorf("%d of %d claims read in %v, at most %d", n, sent, took, most)
	}
}

// Without the right to open packet sockets, as beside scripts, the addresses are seen to all the same.
func TestMonitor_withoutPacketSockets(t *testing.T) {
	a, _ := pair(t)
	found := &findings{}
	o := DefaultMonitorOptions()
	o.Addresses, o.Interface, o.Clock, o.Effector, o.Report = group, wire, raw.Clock, stubborn{func() {}}, found.add
	o.Grace = 100 * time.Millisecond
	m, err := NewMonitor(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := a.start(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil { // of this thread, which ends with the test
			return err
		}
		return m.Run(ctx)
	})
	m.Set(supervisor.Hold{Epoch: 1})
	time.Sleep(300 * time.Millisecond)
	m.Heard(View{Address: vip4.Addr(), MAC: stranger})
	m.Reannounce(netip.Addr{}, stranger)
	a.addByHand(t)
	found.await(t, KindUnexpected, 1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
