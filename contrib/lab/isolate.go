package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// stageVar tells a re-executed program which part it plays; dirVar names the lab's folder.
const (
	stageVar = "UNDERSTUDY_LAB_STAGE"
	dirVar   = "UNDERSTUDY_LAB_DIR"

	stageInit   = "init"
	stageInside = "inside"
)

// isolated is the lab's folder once this process runs inside, else empty.
var isolated string

// ErrNotIsolated reports that New was called before Isolate.
var ErrNotIsolated = errors.New("lab.Isolate was not called")

// Isolate runs the rest of the program in namespaces of its own (processes, mounts, network, and users if the caller isn't root) by
// executing it again with the same arguments. It returns inside=true there, and there only. In the calling process it returns when the
// program inside has ended, with the exit code to pass on:
//
//	if inside, code, err := lab.Isolate(); !inside { ...; os.Exit(code) }
//
// It has to be called before anything with an effect: what runs before it runs up to three times. The lab's helper processes
// are the same program too, so a program that starts a lab must reach Isolate whenever it is given those arguments.
func Isolate() (inside bool, code int, err error) {
	if isolated != "" {
		return true, 0, nil
	}
	stage, dir := os.Getenv(stageVar), os.Getenv(dirVar)
	if err := errors.Join(os.Unsetenv(stageVar), os.Unsetenv(dirVar)); err != nil {
		return false, 1, err
	}
	switch stage {
	case "":
		code, err = runOutside()
	case stageInit:
		code, err = runInit(dir)
	case stageInside:
		isolated = dir
		return true, 0, nil
	default:
		code, err = runHelper(stage)
	}
	return false, code, err
}

// runOutside makes the folder, starts the namespaces' first process and waits for it.
func runOutside() (int, error) {
	dir, err := makeDir()
	if err != nil {
		return 1, err
	}
	defer dir.remove()
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()

	cmd := again(stageInit, dir.path)
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET
	// A group of its own: a Ctrl-C at the terminal then arrives once, passed on from here, and not twice.
	cmd.SysProcAttr.Setpgid = true
	if os.Geteuid() != 0 {
		mapRoot(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("create the lab's namespaces: %w (run as root, or allow user namespaces to ordinary users)", err)
	}
	defer passSignals(cmd.Process)()
	return exitCode(cmd.Wait())
}

// mapRoot adds a user namespace in which the caller is root.
func mapRoot(a *syscall.SysProcAttr) {
	a.Cloneflags |= syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

// again is this program with the same arguments, playing another part. It dies with the thread that starts it.
func again(stage, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stage, dirVar+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// passSignals hands every signal that asks this program to end to another process, until stop is called.
func passSignals(to *os.Process) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			_ = to.Signal(s) // it may have ended already: then its wait tells
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// exitCode turns the result of a wait into an exit code; a signal's number is added to 128 as shells do.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, fmt.Errorf("wait for the lab: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
