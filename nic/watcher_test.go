package nic

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// TestMain moves all tests into a network namespace of their own.
func TestMain(m *testing.M) {
	const inside = "UNDERSTUDY_NIC_TEST"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "nic: the tests need root or user namespaces:", err)
		os.Exit(1)
	}
}

// An interface is judged by its flags and its operational state; unknown counts as up (S4-47).
func TestJudge(t *testing.T) {
	link := func(flags uint32, state netlink.LinkOperState) netlink.Link {
		return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "sip0", RawFlags: flags, OperState: state}}
	}
	for _, c := range []struct {
		name string
		link netlink.Link
		want State
	}{
		{"missing", nil, State{"sip0", false, "there is no such interface"}},
		{"set down", link(0, netlink.OperUp), State{"sip0", false, "set down by an administrator"}},
		{"no carrier", link(flagUp, netlink.OperDown), State{"sip0", false, "no carrier (down)"}},
		{"lower layer down", link(flagUp, netlink.OperLowerLayerDown), State{"sip0", false, "no carrier (lower-layer-down)"}},
		{"unknown", link(flagUp, netlink.OperUnknown), State{"sip0", true, "up"}},
		{"up", link(flagUp, netlink.OperUp), State{"sip0", true, "up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge("sip0", c.link); got != c.want {
				t.Errorf("judge: got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNew_refuses(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("New without anything: got nil, want an error")
	}
}

// The watcher tells each change of a real interface once, through loss of carrier, removal and re-creation.
func TestWatcher_followsLink(t *testing.T) {
	reports := make(chan State, 64)
	w, err := New(Options{Links: []string{"sip0"}, Logger: zap.NewNop(), Report: func(s State) { reports <- s }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	defer running.Wait()
	defer stop()

	expect := func(step, text string) {
		t.Helper()
		select {
		case got := <-reports:
			if got.Text != text {
				t.Fatalf("%s: got %+v, want %q", step, got, text)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: got no report, want %q", step, text)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("at start", "there is no such interface")
	for range 2 { // made, used, removed, and all of it again
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sip0"}, PeerName: "far"}
		do(netlink.LinkAdd(veth))
		expect("made", "set down by an administrator")
		far, err := netlink.LinkByName("far")
		do(err)
		do(netlink.LinkSetUp(far))
		do(netlink.LinkSetUp(veth))
		expectUp(t, reports)
		do(netlink.LinkSetDown(far))
		expect("cable pulled", "no carrier (lower-layer-down)")
		do(netlink.LinkSetUp(far))
		expect("cable back", "up")
		do(netlink.LinkSetDown(veth))
		expect("set down", "set down by an administrator")
		do(netlink.LinkDel(veth))
		expect("removed", "there is no such interface")
	}
	if len(reports) != 0 {
		t.Errorf("reports left: got %d, want none", len(reports))
	}
}

// expectUp waits for up. The kernel may show an interface that was just set up without carrier for a moment.
func expectUp(t *testing.T, reports chan State) {
	t.Helper()
	for {
		select {
		case got := <-reports:
			if got.Up {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatal("set up: got no report that it is up")
		}
	}
}
