package hook

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program, the leader of its own process group.
type process struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	kept   output
	exited chan struct{} // closed when the leader has ended; it stays a zombie, so its number still names the group
	silent chan struct{} // closed when nobody has the output open any more, and kept may be read
	fed    chan struct{} // closed when standard input is written or given up
}

func follow(cmd *exec.Cmd, in, out *os.File, stdin []byte) *process {
	p := &process{
		cmd: cmd, in: in, out: out,
		exited: make(chan struct{}), silent: make(chan struct{}), fed: make(chan struct{}),
	}
	go func() {
		defer close(p.exited)
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	go func() {
		defer close(p.silent)
		p.kept.fill(out)
	}()
	go func() {
		defer close(p.fed)
		_, _ = in.Write(stdin) // a program that does not read it need not
		in.Close()
	}()
	return p
}

// end ends the whole group and reports whether the leader has gone.
func (p *process) end() bool {
	p.signal(unix.SIGTERM)
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	exited, silent := p.exited, p.silent
	for exited != nil || silent != nil { // the output stays open as long as anyone of the group lives, unless he closed it
		select {
		case <-exited:
			exited = nil
		case <-silent:
			silent = nil
		case <-deadline.C:
			exited, silent = nil, nil
		}
	}
	p.signal(unix.SIGKILL)
	select {
	case <-p.exited:
		return true
	case <-time.After(stuck):
		p.close()
		return false
	}
}

func (p *process) signal(s syscall.Signal) { _ = unix.Kill(-p.cmd.Process.Pid, s) }

// close lets go of the pipes, whoever still has the other ends.
func (p *process) close() {
	select {
	case <-p.silent:
	case <-time.After(leftover):
	}
	now := time.Now()
	_ = p.out.SetReadDeadline(now)
	_ = p.in.SetWriteDeadline(now)
	<-p.silent
	<-p.fed
	p.out.Close()
}

// result reaps the leader. cause is why it was ended, nil if it ended by itself.
func (p *process) result(cause error) Result {
	p.close()
	err := p.cmd.Wait()
	r := Result{
		ExitCode: p.cmd.ProcessState.ExitCode(), TimedOut: cause != nil,
		Output: p.kept.data, Dropped: p.kept.dropped,
	}
	switch {
	case cause != nil:
		r.Err = fmt.Errorf("%s: %w", p.cmd.Path, cause)
	case err != nil:
		r.Err = fmt.Errorf("%s: %w", p.cmd.Path, err)
	}
	return r
}
