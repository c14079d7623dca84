package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The kernel tests run on two hosts, each a network namespace of its own, joined by a veth pair: "a" with the effector and an echo
// server at the service addresses, "b" as its neighbour.

const wire = "sip0" // the interface on both

var (
	vip4  = netip.MustParsePrefix("10.77.0.100/32")
	vip6  = netip.MustParsePrefix("fd77::100/128")
	group = []netip.Prefix{vip4, vip6}
)

type host struct {
	ns netns.NsHandle
}

// do runs f on a thread in the host's namespace. The thread ends with it.
func (h host) do(t testing.TB, f func() error) {
	t.Helper()
	if err := <-h.start(f); err != nil {
		t.Fatal(err)
	}
}

// start is do without waiting.
func (h host) start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread isn't used again
		if err := netns.Set(h.ns); err != nil {
			done <- fmt.Errorf("enter namespace: %w", err)
			return
		}
		done <- f()
	}()
	return done
}

// pair makes the two hosts.
func pair(t testing.TB) (a, b host) {
	t.Helper()
	a, b = newHost(t), newHost(t)
	a.do(t, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: wire}, PeerName: wire, PeerNamespace: netlink.NsFd(b.ns)}
		return netlink.LinkAdd(v)
	})
	a.do(t, func() error { return up("10.77.0.1/24", "fd77::1/64") })
	b.do(t, func() error { return up("10.77.0.2/24", "fd77::2/64") })
	a.awaitCarrier(t)
	b.awaitCarrier(t)
	return a, b
}

// awaitCarrier waits until the kernel has told everybody that wire can carry packets, which it does within a second.
func (h host) awaitCarrier(t testing.TB) {
	t.Helper()
	eventually(t, "carrier", func() (is bool) {
		h.do(t, func() error {
			l, err := netlink.LinkByName(wire)
			is = err == nil && l.Attrs().OperState == netlink.OperUp
			return err
		})
		return is
	})
}

func newHost(t testing.TB) host {
	t.Helper()
	var h host
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if h.ns, err = netns.New(); err == nil {
			err = raise("lo")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("make a network namespace (run as root, or with go test -exec 'unshare -Urn'): %v", err)
	}
	t.Cleanup(func() { h.ns.Close() })
	return h
}

func raise(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// up gives wire its addresses and waits until it can carry packets.
func up(addrs ...string) error {
	l, err := netlink.LinkByName(wire)
	if err != nil {
		return err
	}
	for _, s := range addrs {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// attach gives the host a container: a namespace 10.88.0.2 behind it, for which it routes.
func (h host) attach(t testing.TB) host {
	t.Helper()
	inner := newHost(t)
	h.do(t, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "in0"}, PeerName: wire, PeerNamespace: netlink.NsFd(inner.ns)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		a, err := netlink.ParseAddr("10.88.0.1/24")
		return errors.Join(err, netlink.AddrAdd(v, a), netlink.LinkSetUp(v))
	})
	h.sysctl(t, "net/ipv4/ip_forward", "1")
	inner.do(t, func() error { return errors.Join(up("10.88.0.2/24"), route("0.0.0.0/0", "10.88.0.1")) })
	inner.awaitCarrier(t)
	return inner
}

func route(to, via string) error {
	_, dst, err := net.ParseCIDR(to)
	return errors.Join(err, netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}))
}

// has tells which of the group are on the host's interface, as the kernel lists them.
func (h host) has(t testing.TB) map[netip.Addr]netlink.Addr {
	t.Helper()
	found := map[netip.Addr]netlink.Addr{}
	h.do(t, func() error {
		all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		for _, a := range all {
			ip, _ := netip.AddrFromSlice(a.IP)
			for _, p := range group {
				if ip.Unmap() == p.Addr() {
					found[p.Addr()] = a
				}
			}
		}
		return err
	})
	return found
}

// eventually waits for something that the kernel does by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// rulesets gives the nftables tables of the host, as nft prints them.
func (h host) rulesets(t testing.TB) string {
	t.Helper()
	return h.nft(t, "list ruleset")
}

// nft runs the tool on the host.
func (h host) nft(t testing.TB, args string) string {
	t.Helper()
	var out []byte
	h.do(t, func() (err error) {
		out, err = command("nft", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft %s: %w: %s", args, err, out)
		}
		return err
	})
	return string(out)
}

func TestMain(m *testing.M) {
	if what := os.Getenv("VIP_TEST_CHILD"); what != "" {
		child(what)
	}
	os.Exit(m.Run())
}

// restore has nft check what it printed.
func (h host) restore(t testing.TB, rules string) {
	t.Helper()
	h.do(t, func() error {
		c := command("nft", "-c", "-f", "-")
		c.Stdin = strings.NewReader(rules)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("restore ruleset: %w: %s", err, out)
		}
		return nil
	})
}

// sysctl sets a variable on the host.
func (h host) sysctl(t testing.TB, name, value string) {
	t.Helper()
	h.do(t, func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}
