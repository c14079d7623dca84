package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
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

// rawClock is CLOCK_MONOTONIC_RAW, as leases use it.
func rawClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// reports collects what an effector reports.
type reports struct {
	mu   sync.Mutex
	all  []supervisor.AddressReport
	wake chan struct{}
}

func newReports() *reports { return &reports{wake: make(chan struct{}, 1)} }

func (r *reports) add(a supervisor.AddressReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reports) last() (supervisor.AddressReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return supervisor.AddressReport{}, false
	}
	return r.all[len(r.all)-1], true
}

// await waits until the newest report is as ok wants it.
func (r *reports) await(t testing.TB, what string, ok func(supervisor.AddressReport) bool) supervisor.AddressReport {
	t.Helper()
	patience := time.After(10 * time.Second)
	for {
		if last, any := r.last(); any && ok(last) {
			return last
		}
		select {
		case <-r.wake:
		case <-patience:
			last, _ := r.last()
			t.Fatalf("no report of %s; the last is %+v", what, last)
		}
	}
}

func held(epoch supervisor.Epoch) func(supervisor.AddressReport) bool {
	return func(r supervisor.AddressReport) bool { return r.Held && r.Epoch == epoch && r.Err == nil }
}

func notHeld(r supervisor.AddressReport) bool { return !r.Held && r.Err == nil }

// options for an effector on host a.
func options(said *reports) Options {
	o := DefaultOptions()
	o.Addresses, o.Interface, o.Cluster = group, wire, "test"
	o.Clock, o.Report = rawClock, said.add
	return o
}

// running is an effector in service on a host.
type running struct {
	*VIP
	host host
	said *reports
	stop func()
}

func launch(t testing.TB, h host, change ...func(*Options)) *running {
	t.Helper()
	said := newReports()
	o := options(said)
	if testing.Verbose() {
		o.Logger = zaptest.NewLogger(t)
	}
	for _, c := range change {
		c(&o)
	}
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.do(t, func() error { return v.CleanUp(ctx) })
	done := h.start(func() error { return v.Run(ctx) })
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return &running{VIP: v, host: h, said: said, stop: stop}
}

// hold sets a hold of the epoch for another left.
func (r *running) hold(epoch supervisor.Epoch, left time.Duration) {
	r.Set(supervisor.Hold{Held: true, Epoch: epoch, Until: rawClock() + left})
}

// keep renews a lease of 150 ms every 20 ms, as the core does, until the function that it returns is called.
func (r *running) keep(epoch supervisor.Epoch) (stop func()) {
	const lease, every = 150 * time.Millisecond, 20 * time.Millisecond
	r.hold(epoch, lease)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.hold(epoch, lease)
			case <-end:
				return
			}
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(end); <-ended }) }
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

// echo answers UDP at both service addresses, whether they are up or not, until the test ends.
func (h host) echo(t testing.TB) {
	t.Helper()
	for _, p := range group {
		h.echoAt(t, p.Addr().String())
	}
}

func (h host) echoAt(t testing.TB, addr string) {
	t.Helper()
	var conn net.PacketConn
	h.do(t, func() (err error) {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
				unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			})
		}}
		conn, err = lc.ListenPacket(context.Background(), "udp", net.JoinHostPort(addr, "5060"))
		return err
	})
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				conn.WriteTo(b[:n], from) // fails while the gate is closed
			}
		}
	}()
	t.Cleanup(func() { conn.Close() })
}

// client asks an echo server.
type client struct {
	conn *net.UDPConn
	n    byte
}

func (h host) client(t testing.TB, to netip.Addr) *client {
	t.Helper()
	c := &client{}
	h.do(t, func() (err error) {
		c.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 5060)))
		return err
	})
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// ask reports whether an answer to a question of now comes within patience.
func (c *client) ask(patience time.Duration) bool {
	c.n++
	if _, err := c.conn.Write([]byte{c.n}); err != nil {
		return false // an ICMP error for an older question, or no neighbour
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 16)
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			return false
		}
		if n == 1 && b[0] == c.n {
			return true
		}
	}
}

// sniffer sees every frame that arrives at the host's wire.
type sniffer struct{ fd int }

func (h host) sniff(t testing.TB) *sniffer {
	t.Helper()
	s := &sniffer{}
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: l.Attrs().Index})
	})
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// next gives the next arriving frame that ok accepts, or nil after patience.
func (s *sniffer) next(patience time.Duration, ok func([]byte) bool) []byte {
	end := time.Now().Add(patience)
	b := make([]byte, 2048)
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		tv := unix.NsecToTimeval(int64(left))
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil {
			continue
		}
		if ll, is := from.(*unix.SockaddrLinklayer); is && ll.Pkttype != unix.PACKET_OUTGOING && ok(b[:n]) {
			return bytes.Clone(b[:n])
		}
	}
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
