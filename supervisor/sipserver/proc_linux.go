package sipserver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stat is what we need of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	name   string
	state  byte
	parent int
	flags  uint64
	began  uint64 // clock ticks after boot
	exit   int    // wait status, once it is a zombie
}

// ends tells whether the process has ended or is ending: sockets are closed on the way.
func (s stat) ends() bool {
	const exiting = 0x4 // PF_EXITING, linux/sched.h
	return s.state == 'Z' || s.state == 'X' || s.flags&exiting != 0
}

func readStat(path string) (stat, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return stat{}, err
	}
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // a name may contain both
	if open < 0 || shut < open {
		return stat{}, fmt.Errorf("%s: no name in %q", path, b)
	}
	const parent, flags, began, exitCode = 1, 6, 19, 49 // counted from the state
	f := strings.Fields(string(b[shut+1:]))
	if len(f) <= exitCode {
		return stat{}, fmt.Errorf("%s: %d fields after the name", path, len(f))
	}
	s := stat{name: string(b[open+1 : shut]), state: f[0][0]}
	if s.parent, err = strconv.Atoi(f[parent]); err != nil {
		return stat{}, fmt.Errorf("%s: parent: %w", path, err)
	}
	if s.flags, err = strconv.ParseUint(f[flags], 10, 64); err != nil {
		return stat{}, fmt.Errorf("%s: flags: %w", path, err)
	}
	if s.began, err = strconv.ParseUint(f[began], 10, 64); err != nil {
		return stat{}, fmt.Errorf("%s: start time: %w", path, err)
	}
	if s.exit, err = strconv.Atoi(f[exitCode]); err != nil {
		return stat{}, fmt.Errorf("%s: exit code: %w", path, err)
	}
	return s, nil
}

func procPath(pid int, parts ...string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + strings.Join(parts, "/")
}

// findHolders gives the processes, besides ourselves, that hold one of the socket inodes. hidden tells that some processes would not
// let us look.
func findHolders(inodes map[uint64]bool) (found []holder, hidden bool, err error) {
	wanted := make(map[string]bool, len(inodes))
	for inode := range inodes {
		wanted["socket:["+strconv.FormatUint(inode, 10)+"]"] = true
	}
	own := strconv.Itoa(os.Getpid())
	err = eachNumber("/proc", func(name string) bool {
		if name == own {
			return true
		}
		holds, err := holdsAny(name, wanted)
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		if !holds {
			return true
		}
		s, err := readStat("/proc/" + name + "/stat")
		if err != nil || s.state == 'Z' || s.name == "systemd" { // socket activation: systemd keeps a copy
			return true
		}
		h := holder{parent: s.parent, name: s.name}
		h.pid, _ = strconv.Atoi(name)
		program, _ := os.Readlink(procPath(h.pid, "exe"))
		h.program = strings.TrimSuffix(program, " (deleted)")
		found = append(found, h)
		return true
	})
	return found, hidden, err
}

// holdsAny tells whether a process holds one of the sockets, named as its descriptors' links name them.
func holdsAny(pid string, wanted map[string]bool) (holds bool, err error) {
	var link [64]byte
	folder := "/proc/" + pid + "/fd"
	err = eachNumber(folder, func(fd string) bool {
		n, err := unix.Readlink(folder+"/"+fd, link[:])
		holds = err == nil && wanted[string(link[:n])]
		return !holds
	})
	return holds, err
}

// eachNumber calls f with every name in a folder that is a number, until f returns false. Package os takes twice as long.
func eachNumber(folder string, f func(name string) bool) error {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, name := range names {
			if name[0] >= '0' && name[0] <= '9' && !f(name) {
				return nil
			}
		}
	}
}

// alive tells whether a process exists and has not ended.
func alive(pid int) bool {
	s, err := readStat(procPath(pid, "stat"))
	return err == nil && !s.ends()
}

// tasksAtOnce bounds how many threads of one process are looked at.
const tasksAtOnce = 512

// threads gives a process's threads by their number.
func threads(pid int) map[int]thread {
	dir, err := os.Open(procPath(pid, "task"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(tasksAtOnce)
	all := make(map[int]thread, len(names))
	for _, name := range names {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		s, err := readStat(procPath(pid, "task", name, "stat"))
		if err != nil {
			continue
		}
		t := thread{state: s.state}
		if b, err := os.ReadFile(procPath(pid, "task", name, "schedstat")); err == nil {
			if f := strings.Fields(string(b)); len(f) == 3 { // ns on the processor, ns waiting for it, times
				ns, _ := strconv.ParseInt(f[1], 10, 64)
				t.waited = time.Duration(ns)
			}
		}
		all[tid] = t
	}
	return all
}
