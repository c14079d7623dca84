package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// runInit is the first process of the lab's process namespace: it makes /proc right, runs the program proper and buries the orphans
// of servers whose main process was killed. When it ends, the kernel kills whatever is left inside.
func runInit(dir string) (int, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("make mounts private: %w (user namespaces without rights: run as root)", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 1, fmt.Errorf("mount /proc: %w (this container hides parts of /proc: run it privileged)", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := again(stageInside, dir)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start the program inside: %w", err)
	}
	defer passSignals(cmd.Process)()
	return reap(cmd.Process.Pid)
}

// reap waits for every child, its own and inherited ones, until the given one has ended, and returns that one's exit code.
func reap(main int) (int, error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, os.NewSyscallError("wait4", err)
		case pid == main && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == main && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
