package lab

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is one network namespace with the thread that lives in it. Processes started on a host are children of that thread and
// die with it.
type Host struct {
	Name string

	nl   *netlink.Handle
	work chan func()
	done chan struct{}
}

// newHost makes a namespace and its thread.
func newHost(name string) (*Host, error) {
	h := &Host{Name: name, work: make(chan func()), done: make(chan struct{})}
	started := make(chan error)
	go h.live(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	return h, nil
}

// live is the host's thread. It is never unlocked, so the runtime ends the thread with the goroutine and the namespace goes.
func (h *Host) live(started chan<- error) {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() { // the main thread never ends: keep it as it is and take another
		go h.live(started)
		<-h.done
		runtime.UnlockOSThread()
		return
	}
	defer close(h.done)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("new network namespace: %w", err)
		return
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		started <- fmt.Errorf("open netlink: %w", err)
		return
	}
	h.nl = nl
	started <- nil
	for f := range h.work {
		f()
	}
	nl.Close()
}

// Do runs f on the host's thread: what it opens or starts belongs to the host. f must not block for long, nor call Do.
func (h *Host) Do(f func() error) error {
	result := make(chan error, 1)
	h.work <- func() { result <- f() }
	return <-result
}

// close ends the thread. The host's processes must have been stopped before.
func (h *Host) close() {
	close(h.work)
	<-h.done
}

// sysctl sets kernel parameters of the host, "net/ipv4/..." to value.
func (h *Host) sysctl(values map[string]string) error {
	return h.Do(func() error {
		for name, value := range values {
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
				return fmt.Errorf("set %s at host %s: %w", name, h.Name, err)
			}
		}
		return nil
	})
}
