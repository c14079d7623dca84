package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultLimit is the time limit of a command that names none.
const DefaultLimit = 10 * time.Second

const (
	grace    = 2 * time.Second        // between SIGTERM and SIGKILL
	leftover = 200 * time.Millisecond // for output that is still in the pipe when the program has ended
	stuck    = 2 * time.Second        // after SIGKILL; longer only in uninterruptible sleep, on a dead file server
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command is one program to run.
type Command struct {
	Argv  []string      // Argv[0] is an absolute path that Check accepts
	Env   []string      // "NAME=value"; all that it sees besides a fixed PATH
	Stdin []byte        // then end of file
	Limit time.Duration // 0: DefaultLimit
}

// Result is how a command ended.
type Result struct {
	ExitCode int    // -1: it was not started, or a signal ended it
	TimedOut bool   // the limit passed, or ctx ended first
	Output   []byte // the first OutputLimit octets of standard output and standard error together
	Dropped  int64  // octets of output beyond that
	Duration time.Duration
	Err      error // nil if it exited with 0 in time
}

// Errors that Result.Err wraps, besides ErrUnsafe.
var (
	ErrTimeLimit = errors.New("ended at its time limit")
	ErrStuck     = errors.New("does not end even after SIGKILL")
)

// Run runs a command and returns when it has ended, at the latest 4 s after its limit or the end of ctx. What the program started
// in its own process group is ended with it only when the limit or ctx ends it: a program that ends by itself may leave a daemon
// behind, which loses its standard output.
func Run(ctx context.Context, c Command) Result {
	began := time.Now()
	r := run(ctx, c)
	r.Duration = time.Since(began)
	return r
}

func run(ctx context.Context, c Command) Result {
	p, err := start(c)
	if err != nil {
		return Result{ExitCode: -1, Err: err}
	}
	limit := c.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var cause error
	select {
	case <-p.exited:
	case <-timer.C:
		cause = fmt.Errorf("%w of %v", ErrTimeLimit, limit)
	case <-ctx.Done():
		cause = ctx.Err()
	}
	if cause != nil && !p.end() {
		return Result{ExitCode: -1, TimedOut: true, Err: fmt.Errorf("%s: %w", c.Argv[0], errors.Join(cause, ErrStuck))}
	}
	return p.result(cause)
}

func start(c Command) (*process, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("no program given")
	}
	for _, s := range append(append([]string{}, c.Argv...), c.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fmt.Errorf("%s: an argument or variable contains a zero octet", c.Argv[0])
		}
	}
	if err := Check(c.Argv[0]); err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	defer stdout.Close()
	stdin, in, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	defer stdin.Close()
	cmd := &exec.Cmd{
		Path: c.Argv[0], Args: c.Argv, Dir: "/",
		Env:   append([]string{searchPath}, c.Env...),
		Stdin: stdin, Stdout: stdout, Stderr: stdout,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		out.Close()
		in.Close()
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	leaveRealTime(cmd.Process.Pid)
	return follow(cmd, in, out, c.Stdin), nil
}

// leaveRealTime gives a program an ordinary share of the processor where understudy itself runs with real-time priority, which
// children inherit: a hook must not outrun the SIP server.
func leaveRealTime(pid int) {
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil || (attr.Policy != unix.SCHED_FIFO && attr.Policy != unix.SCHED_RR) {
		return
	}
	_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
}
