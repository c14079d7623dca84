package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// command is the built program with a place of its own for temporary files.
type command struct {
	program, tmp string
}

func build(t *testing.T) command {
	t.Helper()
	c := command{program: filepath.Join(t.TempDir(), "lab"), tmp: t.TempDir()}
	cmd := exec.Command("go", "build", "-o", c.program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return c
}

// run runs the program and returns what it said, and whether it ended well.
func (c command) run(args ...string) (string, bool) {
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+c.tmp)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// A lab goes up, is looked at, broken and healed from other shells, goes down, and leaves no file.
func TestLab_fromUpToDown(t *testing.T) {
	c := build(t)
	defer c.run("down")
	steps := []struct {
		args []string
		ok   bool
		want string
	}{
		{[]string{"status"}, false, "no lab is up"},
		{[]string{"up", "--ha", "nonsense"}, false, "unknown --ha"},
		{[]string{"up", "--ha", "keepalived-tuned"}, true, "healthy"},
		{[]string{"up"}, false, "up already"},
		{[]string{"status"}, true, "kept in service by keepalived tuned"},
		{[]string{"exec", "c", "ip", "-4", "addr", "show", "dev", "sip0"}, true, "10.77.2.20/24"},
		{[]string{"exec", "nowhere", "true"}, false, "no host"},
		{[]string{"exec", "a", "false"}, false, "exit status 1"},
		{[]string{"fault", "nonsense"}, false, "server-killed"},
		{[]string{"fault", "server-killed"}, true, "the client noticed an outage of"},
		{[]string{"status"}, true, "fault: server-killed"},
		{[]string{"heal"}, true, "\nhealthy"},
		{[]string{"down"}, true, "the lab is down"},
		{[]string{"down"}, false, "no lab is up"},
	}
	for _, s := range steps {
		out, ok := c.run(s.args...)
		if ok != s.ok || !strings.Contains(out, s.want) {
			t.Fatalf("lab %s: ok %t, want %t with %q: %s", strings.Join(s.args, " "), ok, s.ok, s.want, out)
		}
	}
	left := []string{"?"}
	for deadline := lab.Now() + 5*time.Second; len(left) > 0 && lab.Now() < deadline; time.Sleep(10 * time.Millisecond) {
		var err error
		if left, err = filepath.Glob(filepath.Join(c.tmp, "*")); err != nil {
			t.Fatal(err)
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Mistakes in the command line are told before anything is built.
func TestBench_refuses(t *testing.T) {
	c := build(t)
	for _, args := range [][]string{
		{"bench", "--ha", "nonsense"}, {"bench", "--faults", "nonsense"}, {"bench", "--server", "nonsense", "--ha", "keepalived-tuned"},
		{"bench", "--understudy", "/nonexistent", "--ha", "understudy"}, {"bench", "surplus"},
	} {
		if out, ok := c.run(args...); ok || !strings.Contains(out, "lab: ") {
			t.Errorf("lab %s: ok %t: %s", strings.Join(args, " "), ok, out)
		}
	}
}

// A short bench prints its table and writes its report.
func TestBench_reports(t *testing.T) {
	c := build(t)
	report := filepath.Join(t.TempDir(), "report.json")
	out, ok := c.run("bench", "--ha", "keepalived-tuned", "--runs", "1", "--faults", "server-killed,witness-lost", "--idle", "0", "--report", report)
	if !ok || !strings.Contains(out, "| server-killed | **") || !strings.Contains(out, "| witness-lost | n/a |") {
		t.Errorf("ok %t: %s", ok, out)
	}
	raw, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(raw), `"longest_ns"`) {
		t.Errorf("report: %v: %s", err, raw)
	}
}
