package sipserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// seekShare bounds what looking for processes that do not listen may cost: a hundredth of a processor.
const seekShare = 100

// ticks is USER_HZ, in which the kernel tells a process's start (proc_pid_stat(5)).
const ticks = 100

// heirs find out whether the server lives although nothing listens: one that closed its socket, or one that was started anew and
// can't bind. A restarted server is known by its name, or else by the command line of the one that listened before, and it has to be
// younger than what was last seen of that one, so that a second server on the same host is not taken for it.
type heirs struct {
	process  string
	netns    string
	commands map[string]bool // of those that listened last
	since    uint64          // in ticks after boot: when they were last found
	next     time.Time       // when to look again
	last     string          // what the last look gave
}

func newHeirs(process string) heirs {
	netns, _ := os.Readlink("/proc/thread-self/ns/net")
	return heirs{process: process, netns: netns}
}

// learn takes who listens now.
func (e *heirs) learn(holders []holder) {
	if len(holders) == 0 {
		return
	}
	e.commands, e.next = map[string]bool{}, time.Time{}
	for _, h := range holders {
		if b, err := os.ReadFile(procPath(h.pid, "cmdline")); err == nil && len(b) > 0 {
			e.commands[string(b)] = true
		}
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err == nil {
		e.since = uint64(now.Nano() / (int64(time.Second) / ticks))
	}
}

// living names a process of the server that lives while nothing listens, and whether it was started anew. known are those that
// listened.
func (e *heirs) living(known []holder) (name string, anew bool) {
	for _, h := range known {
		if alive(h.pid) {
			return fmt.Sprintf("process %d (%s)", h.pid, h.name), false
		}
	}
	if !time.Now().Before(e.next) {
		took := cost(func() { e.last = e.seek() })
		e.next = time.Now().Add(max(pollEvery/2, seekShare*took))
	}
	return e.last, e.last != ""
}

// seek looks through all processes of this network namespace.
func (e *heirs) seek() (name string) {
	if e.process == "" && len(e.commands) == 0 {
		return ""
	}
	own := strconv.Itoa(os.Getpid())
	_ = eachNumber("/proc", func(pid string) bool { // without a list of processes nobody is found
		if pid == own {
			return true
		}
		folder := filepath.Join("/proc", pid)
		s, err := readStat(filepath.Join(folder, "stat"))
		if err != nil || s.ends() || s.began < e.since || !e.mine(folder, s) {
			return true
		}
		name = fmt.Sprintf("process %s (%s)", pid, s.name)
		return false
	})
	return name
}

func (e *heirs) mine(folder string, s stat) bool {
	if e.process != "" {
		if s.name != e.process {
			return false
		}
	} else if b, err := os.ReadFile(filepath.Join(folder, "cmdline")); err != nil || !e.commands[string(b)] {
		return false
	}
	netns, err := os.Readlink(filepath.Join(folder, "ns/net"))
	return err == nil && netns == e.netns
}
