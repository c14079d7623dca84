package sipserver

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// These tests run in a network namespace of their own, as root there: as root by unshare(2), else in a user namespace.
const (
	insideVariable = "SIPSERVER_TEST_INSIDE"
	spinVariable   = "SIPSERVER_TEST_SPIN"
	stubVariable   = "SIPSERVER_TEST_STUB"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(spinVariable) != "":
		spin()
	case os.Getenv(stubVariable) != "":
		stubMain(os.Getenv(stubVariable))
		return
	case os.Getenv(insideVariable) == "":
		os.Exit(runInside())
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set up the loopback interface of the test's namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runInside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	signal.Ignore(os.Interrupt, syscall.SIGQUIT) // the child gets them too, and prints its stacks
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "these tests need a network namespace: run them as root, or allow user namespaces:", err)
		return 1
	}
	return max(cmd.ProcessState.ExitCode(), -cmd.ProcessState.ExitCode())
}

// spin is a process that only burns processor time, on the processor and at the priority that the variable names.
func spin() {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(0)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		panic(err)
	}
	if os.Getenv(spinVariable) == "idle" {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
			panic(err)
		}
	}
	fmt.Println("spinning")
	for {
	}
}
