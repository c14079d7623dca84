package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is a program to run on a host.
type Command struct {
	Name string // of its log file, NAME-HOST.log
	Args []string
	Env  []string // added to the lab's own environment
}

// Process is a program that runs on a host, with everything that it started.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // of the wait, valid once done is closed
}

// Start runs a command on a host. It gets a session of its own, by which its descendants are found even when it has died before them.
func (l *Lab) Start(host string, c Command) (*Process, error) {
	log, err := os.OpenFile(l.path(c.Name+"-"+host+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.dir, log, log
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := l.hosts[host].Do(cmd.Start); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s at host %s: %w", c.Name, host, err), log.Close())
	}
	p := &Process{name: c.Name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = errors.Join(cmd.Wait(), log.Close())
	}()
	l.track(p)
	return p, nil
}

// Run runs a command on a host and returns what it printed, on both outputs, and how it ended.
func (l *Lab) Run(host string, args ...string) ([]byte, error) {
	cmd := exec.Command(args[0], args[1:]...)
	var out strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.dir, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h := l.at(host)
	if h == nil {
		return nil, fmt.Errorf("no host %q (one of a, b, w, c, switch)", host)
	}
	err := h.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return []byte(out.String()), fmt.Errorf("run %s at %s: %w: %s", strings.Join(args, " "), host, err, strings.TrimSpace(out.String()))
	}
	return []byte(out.String()), nil
}

// ended reports whether the process that was started has ended, whatever became of its descendants.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// logTail is the end of what a process printed, for error messages.
func (p *Process) logTail() string {
	const enough = 1000
	raw, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(raw[max(0, len(raw)-enough):]))
}

// PIDs are the process and its living descendants, also those whose parents have died.
func (p *Process) PIDs() []int {
	all := readProcesses()
	var found []int
	for pid, st := range all {
		if st.lives() && (st.session == p.cmd.Process.Pid || descends(all, pid, p.cmd.Process.Pid)) {
			found = append(found, pid)
		}
	}
	slices.Sort(found)
	return found
}

// Signal sends a signal to all its processes. One that has ended meanwhile is no error.
func (p *Process) Signal(s syscall.Signal) error {
	for _, pid := range p.PIDs() {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %v to %s (%d): %w", s, p.name, pid, err)
		}
	}
	return nil
}

// Kill ends it and all its descendants with SIGKILL and waits until none is left.
func (p *Process) Kill() error { return p.stop(syscall.SIGKILL) }

// Stop asks it to end, then kills what is left after a while.
func (p *Process) Stop(patience time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ask %s to end: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
	}
	return p.stop(syscall.SIGKILL)
}

func (p *Process) stop(s syscall.Signal) error {
	for deadline := Now() + 5*time.Second; Now() < deadline; time.Sleep(2 * time.Millisecond) {
		if err := p.Signal(s); err != nil {
			return err
		}
		if len(p.PIDs()) == 0 {
			<-p.done
			return nil
		}
	}
	return fmt.Errorf("kill %s: still there: %v", p.name, p.PIDs())
}

// procStat is what the lab needs of /proc/PID/stat, see proc(5).
type procStat struct {
	state           string
	parent, session int
	threads         int
	ticks           int // user and system time, of itself and of its children that were waited for
}

// lives reports whether it still holds anything. The first thread of a process that ends may be a zombie while others still close sockets
// and files.
func (s procStat) lives() bool { return s.state != "Z" || s.threads > 1 }

// readProcesses reads every process of the lab. Those that end meanwhile are left out.
func readProcesses() map[int]procStat {
	all := map[int]procStat{}
	found, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed: no error
	for _, path := range found {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if raw, err := os.ReadFile(path); err == nil {
			all[pid] = parseStat(string(raw))
		}
	}
	return all
}

// parseStat reads one line of /proc/PID/stat. The second field is in parentheses and may contain anything.
func parseStat(line string) procStat {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	number := func(i int) int { // i as in proc(5), where the state is the third field
		if i-3 >= len(f) {
			return 0
		}
		n, _ := strconv.Atoi(f[i-3])
		return n
	}
	if len(f) == 0 {
		return procStat{}
	}
	return procStat{
		state: f[0], parent: number(4), session: number(6), threads: number(20),
		ticks: number(14) + number(15) + number(16) + number(17),
	}
}

func descends(all map[int]procStat, pid, from int) bool {
	for ; pid > 1; pid = all[pid].parent {
		if pid == from {
			return true
		}
	}
	return false
}
