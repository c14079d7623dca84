package main

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownCapabilities are those that only the daemon itself needs, to see which processes hold the SIP server's socket.
var ownCapabilities = []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}

// keepFromHooks takes the daemon's own capabilities out of the ambient set of every thread, so that programs which it starts do not
// inherit them (capabilities(7)). The daemon keeps them. Binaries built with cgo can't do so for all threads: tests, not releases.
func keepFromHooks() error {
	for _, c := range ownCapabilities {
		_, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, c, 0, 0, 0)
		if errno != 0 && !errors.Is(errno, syscall.ENOTSUP) && !errors.Is(errno, syscall.EINVAL) { // EINVAL: Linux before 4.3
			return fmt.Errorf("keep capability %d from hooks: %w", c, errno)
		}
	}
	return nil
}
