package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// script writes a program that only its owner may change and gives its path.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_givesArgumentsEnvironmentAndInput(t *testing.T) {
	t.Setenv("SECRET_OF_UNDERSTUDY", "x")
	path := script(t, `echo "$1|$2"; env | sort; cat`)
	r := Run(t.Context(), Command{Argv: []string{path, "a b", "$(id)"}, Env: []string{"ROLE=primary"}, Stdin: []byte(`{"x":1}`)})
	if r.Err != nil || r.ExitCode != 0 {
		t.Fatalf("got %d, %v", r.ExitCode, r.Err)
	}
	got := string(r.Output)
	for _, want := range []string{"a b|$(id)\n", searchPath + "\n", "ROLE=primary\n", `{"x":1}`} {
		if !strings.Contains(got, want) {
			t.Errorf("output lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "SECRET") {
		t.Errorf("our own environment leaked:\n%s", got)
	}
}

func TestRun_exitCode(t *testing.T) {
	r := Run(t.Context(), Command{Argv: []string{script(t, "echo no >&2; exit 7")}})
	if r.ExitCode != 7 || r.Err == nil || r.TimedOut || string(r.Output) != "no\n" {
		t.Errorf("got %+v", r)
	}
}

func TestRun_unreadInputIsNoError(t *testing.T) {
	r := Run(t.Context(), Command{Argv: []string{script(t, "exit 0")}, Stdin: make([]byte, 1<<20)})
	if r.Err != nil {
		t.Errorf("got %v", r.Err)
	}
}

// A program that hangs is ended at its limit.
func TestRun_hangs(t *testing.T) {
	r := Run(t.Context(), Command{Argv: []string{script(t, "sleep 1000")}, Limit: 200 * time.Millisecond})
	if !r.TimedOut || !errors.Is(r.Err, ErrTimeLimit) || r.ExitCode != -1 {
		t.Errorf("got %+v", r)
	}
	if r.Duration > grace {
		t.Errorf("took %v although everybody obeyed SIGTERM", r.Duration)
	}
}

// Whoever is in the group is ended with it, if need be by SIGKILL, when the limit passes or, as here, our context ends.
func TestRun_endsTheGroup(t *testing.T) {
	const deaf = `trap "" TERM; echo $$ >$PIDFILE; while :; do sleep 1000; done`
	for name, lines := range map[string]string{
		"child obeys":          "sleep 1000 & echo $! >$PIDFILE; wait",
		"leader ignores TERM":  deaf,
		"child ignores TERM":   "sh -c '" + deaf + "' & wait",
		"orphan of the leader": "sh -c '" + deaf + "' >/dev/null 2>&1 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			r, pidFile := runUntilPID(t, lines)
			if !r.TimedOut || !errors.Is(r.Err, context.Canceled) {
				t.Errorf("got %+v", r)
			}
			wantGone(t, pidFile)
		})
	}
}

// runUntilPID runs a script until it has written a file with a process number.
func runUntilPID(t *testing.T, lines string) (Result, string) {
	t.Helper()
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := Command{Argv: []string{script(t, lines)}, Env: []string{"PIDFILE=" + pidFile}, Limit: time.Minute}
	go func() {
		defer cancel()
		for {
			if b, err := os.ReadFile(pidFile); err == nil && len(b) > 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return Run(ctx, c), pidFile
}

// A daemon that keeps the output open must not keep us, and is left alone when its parent ended in time.
func TestRun_leavesDaemon(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	path := script(t, "sleep 1000 & echo $! >"+pidFile+"; echo done")
	r := Run(t.Context(), Command{Argv: []string{path}, Limit: 30 * time.Second})
	if r.Err != nil || string(r.Output) != "done\n" || r.Duration > 10*time.Second {
		t.Errorf("got %+v", r)
	}
	pid := readPID(t, pidFile)
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// A daemon that left the process group is out of reach; it must not keep us either.
func TestRun_leavesSessionLeader(t *testing.T) {
	r, pidFile := runUntilPID(t, "setsid sleep 1000 & echo $! >$PIDFILE; wait")
	if !r.TimedOut || r.Duration > time.Minute {
		t.Errorf("got %+v", r)
	}
	_ = unix.Kill(readPID(t, pidFile), unix.SIGKILL)
}

func TestRun_flood(t *testing.T) {
	r := Run(t.Context(), Command{Argv: []string{script(t, "exec cat /dev/zero")}, Limit: time.Second})
	if !r.TimedOut || len(r.Output) != OutputLimit || r.Dropped == 0 {
		t.Errorf("got %d octets, %d dropped, timed out %v, %v", len(r.Output), r.Dropped, r.TimedOut, r.Err)
	}
	t.Logf("%d MiB drained in %v", r.Dropped>>20, r.Duration)
}

// wantGone returns when the process has ended; one that never does ends the test by its time limit.
func wantGone(t *testing.T, pidFile string) {
	t.Helper()
	path := "/proc/" + strconv.Itoa(readPID(t, pidFile)) + "/stat"
	for {
		stat, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func readPID(t *testing.T, pidFile string) int {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
