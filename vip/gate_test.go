package vip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	nlsocket "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// speaks names the ways in which a frame comes from a service address: an ARP packet with it as sender, a neighbour advertisement for
// it, or any IP packet from it.
func speaks(f []byte) string {
	if len(f) < 14+40 {
		if len(f) >= 42 && binary.BigEndian.Uint16(f[12:]) == etherARP && bytes.Equal(f[28:32], vip4.Addr().AsSlice()) {
			return "arp"
		}
		if len(f) < 34 {
			return ""
		}
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case etherARP:
		if bytes.Equal(f[28:32], vip4.Addr().AsSlice()) {
			return "arp"
		}
	case 0x0800:
		if bytes.Equal(f[26:30], vip4.Addr().AsSlice()) {
			return map[byte]string{1: "icmp", 17: "udp"}[f[23]]
		}
	case etherIPv6:
		if len(f) >= 78 && f[20] == 58 && f[54] == 136 && bytes.Equal(f[62:78], vip6.Addr().AsSlice()) {
			return "na"
		}
		if bytes.Equal(f[22:38], vip6.Addr().AsSlice()) {
			return map[byte]string{58: "icmp6", 17: "udp6"}[f[20]]
		}
	}
	return ""
}

// provoke makes host b ask for the service addresses in every way: resolves them anew, pings them, sends them UDP. It gives what came
// back from them.
func provoke(t *testing.T, b host, s *sniffer, patience time.Duration) map[string]bool {
	t.Helper()
	b.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		for _, p := range group { // forget the neighbours
			netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: p.Addr().AsSlice()})
		}
		return nil
	})
	b.client(t, vip4.Addr()).ask(0)
	b.client(t, vip6.Addr()).ask(0)
	b.ping(t, vip4.Addr())
	b.ping(t, vip6.Addr())
	// Questions to the link-layer address at once, as from a neighbour that still remembers it.
	seen := map[string]bool{}
	for end := time.Now().Add(patience); len(seen) < 6 && time.Now().Before(end); {
		if f := s.next(time.Until(end), func(f []byte) bool { return speaks(f) != "" }); f != nil {
			seen[speaks(f)] = true
		}
	}
	return seen
}

// ping sends one echo request.
func (h host) ping(t testing.TB, to netip.Addr) {
	t.Helper()
	h.do(t, func() error {
		network, message := "ip4:icmp", []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}
		if to.Is6() {
			network, message = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 1, 0, 1} // the kernel fills in the checksum
		}
		c, err := net.Dial(network, to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(message)
		return err
	})
}

// When the process is killed, the kernel closes the gate before the lease ends, although the addresses are still there: no ARP, no
// neighbour advertisement, no ICMP, no UDP.
func TestGate_closesWhenTheProcessIsKilled(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	s := b.sniff(t)
	c := launchChild(t, a, "keep")
	if got := provoke(t, b, s, 3*time.Second); len(got) != 6 {
		t.Fatalf("while it is held there is only %v", got)
	}
	c.kill()
	time.Sleep(150 * time.Millisecond) // the lease
	drain(s)
	if got := provoke(t, b, s, 400*time.Millisecond); len(got) != 0 {
		t.Errorf("after the lease the address still speaks: %v", got)
	}
	if got := a.has(t); len(got) != len(group) {
		t.Errorf("the addresses are gone, so this proves nothing: %v", got)
	}
}

func drain(s *sniffer) {
	for s.next(time.Millisecond, func([]byte) bool { return true }) != nil {
	}
}

// When the process is frozen, no question that is asked after the end of its lease is answered.
func TestGate_closesBeforeTheLeaseEnds(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	for _, p := range group {
		c := b.client(t, p.Addr())
		o := launchChild(t, a, "freeze")
		closed := lastAnswer(c, o.until)
		if closed > 0 {
			t.Errorf("%v: answered a question asked %v after the end of the lease", p, closed)
		}
		t.Logf("%v: last answer to a question asked %v before the end of the lease", p, -closed)
		o.kill()
		eventually(t, "the kernel removes the addresses", func() bool { return len(a.has(t)) == 0 })
	}
}

// lastAnswer asks until nothing answers any more, and gives the moment of the last question that was answered, relative to until.
func lastAnswer(c *client, until time.Duration) time.Duration {
	last := -time.Hour
	for now := raw.Clock(); now < until+50*time.Millisecond; now = raw.Clock() {
		if c.ask(2 * time.Millisecond) {
			last = now - until
		}
	}
	return last
}

// A backup, whose gate is closed, reaches the primary's address, and so does what is behind it, such as its containers.
func TestGate_backupReachesThePrimary(t *testing.T) {
	a, b := pair(t)
	inner := b.attach(t)
	a.do(t, func() error { return route("10.88.0.0/24", "10.77.0.2") })
	a.echo(t)
	primary, backup := launch(t, a), launch(t, b)
	backup.Set(supervisor.Hold{Epoch: 1})
	backup.said.await(t, "not held", notHeld)
	defer primary.keep(1)()
	primary.said.await(t, "held", held(1))
	for _, p := range group {
		if !b.client(t, p.Addr()).ask(time.Second) {
			t.Errorf("the backup does not reach %v", p)
		}
	}
	if !inner.client(t, vip4.Addr()).ask(time.Second) {
		t.Errorf("the backup's container does not reach %v", vip4)
	}
}

// A backup can't send from the service address, not even with a socket that may use any address.
func TestGate_backupCannotSendFromTheAddress(t *testing.T) {
	_, b := pair(t)
	v := launch(t, b)
	v.Set(supervisor.Hold{Epoch: 1})
	v.said.await(t, "not held", notHeld)
	b.do(t, func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		err = errors.Join(unix.SetsockoptInt(s, unix.SOL_IP, unix.IP_TRANSPARENT, 1), unix.Bind(s, &unix.SockaddrInet4{Addr: vip4.Addr().As4()}))
		if err != nil {
			return err
		}
		if got := unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{10, 77, 0, 1}, Port: 5060}); !errors.Is(got, unix.EPERM) {
			t.Errorf("send: %v, want %v", got, unix.EPERM)
		}
		return nil
	})
}

// A server in a container, to which address translation leads, is behind the gate like any other.
func TestGate_closesPublishedPorts(t *testing.T) {
	a, b := pair(t)
	inner := a.attach(t)
	inner.echoAt(t, "10.88.0.2")
	a.nft(t, "add table ip nat")
	a.nft(t, "add chain ip nat pre { type nat hook prerouting priority -100 ; }")
	a.nft(t, "add rule ip nat pre ip daddr 10.77.0.100 udp dport 5060 dnat to 10.88.0.2")
	c := b.client(t, vip4.Addr())
	o := launchChild(t, a, "keep")
	if !c.ask(2 * time.Second) {
		t.Fatal("the container does not answer")
	}
	o.kill()
	time.Sleep(150 * time.Millisecond) // the lease
	for range 20 {
		if c.ask(5 * time.Millisecond) {
			t.Fatal("the container answers after the lease")
		}
	}
	if got := a.has(t); len(got) != len(group) {
		t.Errorf("the addresses are gone, so this proves nothing: %v", got)
	}
}

// A frozen process that thaws after the end of its lease serves nothing, and drops.
func TestGate_thaw(t *testing.T) {
	a, b := pair(t)
	a.echo(t)
	c := b.client(t, vip4.Addr())
	o := launchChild(t, a, "freeze")
	for raw.Clock() < o.until {
		time.Sleep(time.Millisecond)
	}
	o.Process.Signal(unix.SIGCONT)
	for range 50 {
		if c.ask(2 * time.Millisecond) {
			t.Fatal("answered after the thaw")
		}
	}
	eventually(t, "dropped", func() bool { return len(a.has(t)) == 0 })
}

// Renewals leave the ruleset's generation alone: `nft list ruleset` and others' changes of large rulesets would never end.
func TestGate_renewalsAreNoTransactions(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	v.hold(1, 150*time.Millisecond)
	v.said.await(t, "held", held(1))
	before := a.generation(t)
	for range 100 {
		v.hold(1, 150*time.Millisecond)
	}
	if after := a.generation(t); after != before {
		t.Errorf("generation %d after 100 renewals, %d before", after, before)
	}
}

// Several goroutines may set at once; the newest epoch wins.
func TestVIP_SetConcurrently(t *testing.T) {
	a, _ := pair(t)
	v := launch(t, a)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 200 {
				v.hold(supervisor.Epoch(4*i+worker+1), time.Second)
			}
		})
	}
	wg.Wait()
	v.said.await(t, "held", held(800))
}

// generation is the number that the kernel gives to the nftables ruleset.
func (h host) generation(t testing.TB) (id uint32) {
	t.Helper()
	h.do(t, func() error {
		c, err := nlsocket.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err := c.Execute(nlsocket.Message{
			Header: nlsocket.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: nlsocket.Request},
			Data:   make([]byte, 4),
		})
		if err != nil {
			return err
		}
		for kind, value := range attributes(answer[0].Data[4:]) {
			if kind == unix.NFTA_GEN_ID {
				id = binary.BigEndian.Uint32(value)
				return nil
			}
		}
		return errors.New("no generation")
	})
	return id
}
