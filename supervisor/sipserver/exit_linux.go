package sipserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openProcess gives a pidfd. It needs no privilege, and no relation to the process.
func openProcess(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// watchExit passes the end of a process on, unless ctx ends or f is closed before.
func watchExit(ctx context.Context, pid int, f *os.File, exits chan<- exit) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	e := exit{pid: pid}
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		ended = err == nil && n > 0
		if ended {
			e.orderly, e.how, e.cause = ending(pid, int(fd))
		}
		return ended
	})
	if err != nil || !ended {
		return
	}
	select {
	case exits <- e:
	case <-ctx.Done():
	}
}

// ending tells how a process ended: from /proc while its parent has not reaped it, later from the pidfd (Linux 6.15).
func ending(pid, fd int) (orderly bool, how string, cause Cause) {
	if s, err := readStat(procPath(pid, "stat")); err == nil && s.state == 'Z' {
		return describe(syscall.WaitStatus(s.exit))
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(fd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return describe(syscall.WaitStatus(info.Exit_code))
	}
	return false, "", CauseUnexpected
}

// describe reads a wait status. An end that somebody asked for is unauthorized: nobody orders a server's end through the sidecar.
func describe(w syscall.WaitStatus) (orderly bool, how string, cause Cause) {
	cause = CauseUnexpected
	if w.Signaled() {
		if w.Signal() == syscall.SIGTERM || w.Signal() == syscall.SIGKILL {
			cause = CauseUnauthorized
		}
		return false, fmt.Sprintf("signal %d (%s)", int(w.Signal()), w.Signal()), cause
	}
	if w.ExitStatus() == 0 {
		cause = CauseUnauthorized
	}
	return w.ExitStatus() == 0, fmt.Sprintf("exit code %d", w.ExitStatus()), cause
}

func isOverrun(err error) bool { return errors.Is(err, unix.ENOBUFS) }
