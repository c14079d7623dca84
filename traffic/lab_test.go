package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"golang.org/x/sys/unix"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// The kernel tests run in a network namespace of their own: this host, with the SIP server. A far host is a second one, behind a veth pair.

const (
	wire    = "sip0" // the interface on both
	here4   = "10.77.0.1"
	here6   = "fd77::1"
	there4  = "10.77.0.2"
	there6  = "fd77::2"
	service = "10.77.0.100"
)

var (
	here  = netip.MustParseAddr(here4)
	there = netip.MustParseAddr(there4)
)

func TestMain(m *testing.M) {
	const inside = "UNDERSTUDY_TRAFFIC_TEST"
	if what := os.Getenv(childVariable); what != "" {
		child(what)
	}
	if os.Getenv(inside) != "" {
		if err := raise("lo"); err != nil {
			fmt.Fprintln(os.Stderr, "traffic: set up the loopback interface of the tests' namespace:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "traffic: the tests need root or user namespaces:", err)
		os.Exit(1)
	}
	os.Exit(max(cmd.ProcessState.ExitCode(), -cmd.ProcessState.ExitCode()))
}

// far is the host at the other end of the wire.
type far struct {
	ns netns.NsHandle
}

// do runs f on a thread in the far host's namespace. The thread ends with it.
func (h far) do(t testing.TB, f func() error) {
	t.Helper()
	if err := <-h.start(f); err != nil {
		t.Fatal(err)
	}
}

// start is do without waiting.
func (h far) start(f func() error) <-chan error {
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

// newFar makes the far host and the wire to it.
func newFar(t testing.TB) far {
	t.Helper()
	var h far
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if h.ns, err = netns.New(); err == nil {
			err = raise("lo")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.ns.Close() })
	h.plug(t)
	t.Cleanup(func() { unplug(t) })
	return h
}

// plug lays the wire.
func (h far) plug(t testing.TB) {
	t.Helper()
	err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: wire}, PeerName: wire, PeerNamespace: netlink.NsFd(h.ns),
	})
	if err = errors.Join(err, address(wire, here4+"/24", here6+"/64", service+"/32")); err != nil {
		t.Fatal(err)
	}
	h.do(t, func() error { return address(wire, there4+"/24", there6+"/64") })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if l, err := netlink.LinkByName(wire); err == nil && l.Attrs().OperState == netlink.OperUp {
			return
		} else if time.Now().After(end) {
			t.Fatalf("no carrier: %v", err)
		}
	}
}

func unplug(t testing.TB) {
	t.Helper()
	l, err := netlink.LinkByName(wire)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	var missing netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &missing) {
		t.Error(err)
	}
}

func raise(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func address(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
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

// standard are the options of the tests: everything that the lab has.
func standard() Options {
	o := DefaultOptions()
	o.Interfaces = []string{wire, "lo"}
	o.Addresses = []netip.Addr{here, netip.MustParseAddr(here6), netip.MustParseAddr(service)}
	o.WSPorts = []uint16{8080}
	if testing.Verbose() {
		o.Logger = zap.Must(zap.NewDevelopment())
	}
	return o
}

// run runs a monitor until the end of the test, and waits until it captures.
func run(t testing.TB, o Options) *Monitor {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(stop)
	await(t, m, "capturing", func(s Stats) bool { return s.Capturing })
	return m
}

// await waits for something to be seen.
func await(t testing.TB, m *Monitor, what string, ok func(Stats) bool) Stats {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s := m.Snapshot()
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("never: %s: %+v", what, s)
		}
	}
}

// settled gives what is there after everything sent so far was seen: a message that a test sends last tells.
func settled(t testing.TB, m *Monitor, h far) Stats {
	t.Helper()
	before := m.Snapshot().In.Requests[len(Methods)-1]
	h.do(t, func() error { return sendUDP(netip.AddrPortFrom(here, 5060), request("LAST", "last", 1)) })
	return await(t, m, "the last message", func(s Stats) bool { return s.In.Requests[len(Methods)-1] > before })
}

func sendUDP(to netip.AddrPort, packets ...string) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, p := range packets {
		if _, err := conn.Write([]byte(p)); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	return nil
}

// request makes a request of some 300 octets; branch and Call-ID are made of id.
func request(method, id string, cseq int) string {
	return method + " sip:bob@10.77.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.77.0.2:5060;branch=z9hG4bK" + id + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:alice@10.77.0.2>;tag=1928301774\r\nTo: <sip:bob@10.77.0.1>\r\nCall-ID: " + id + "@10.77.0.2\r\n" +
		fmt.Sprintf("CSeq: %d %s\r\n", cseq, method) + "Contact: <sip:alice@10.77.0.2>\r\nContent-Length: 0\r\n\r\n"
}

// response makes the response to a request that request made.
func response(status int, method, id string, cseq int) string {
	return fmt.Sprintf("SIP/2.0 %d Whatever\r\n", status) + "Via: SIP/2.0/UDP 10.77.0.2:5060;branch=z9hG4bK" + id + "\r\n" +
		"From: <sip:alice@10.77.0.2>;tag=1928301774\r\nTo: <sip:bob@10.77.0.1>;tag=a6c85cf\r\nCall-ID: " + id + "@10.77.0.2\r\n" +
		fmt.Sprintf("CSeq: %d %s\r\n", cseq, method) + "Content-Length: 0\r\n\r\n"
}

func contextWithCancel(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	return ctx, stop
}

func newPoller(t testing.TB) *raw.Poller {
	t.Helper()
	p, err := raw.NewPoller(func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}
