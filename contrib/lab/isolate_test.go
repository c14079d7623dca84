package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nestedVar makes the test program run a lab until its standard input ends, instead of tests.
const nestedVar = "LAB_TEST_NESTED"

// nestedCode is the exit code that has to come through from inside.
const nestedCode = 7

// nestedLab is what the nested program does.
func nestedLab() int {
	l, err := New(Options{Server: Kamailio})
	if err == nil {
		err = l.Supervise(KeepalivedTuned())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("up", l.Dir())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nestedCode // without Close: the kernel cleans up
}

// nested is a lab in a program of its own.
type nested struct {
	cmd   *exec.Cmd
	stdin io.Closer
	dir   string
	pids  []int // of everything that runs in it
}

func startNested(t *testing.T, tmp string) nested {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), nestedVar+"=1", "TMPDIR="+tmp)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	dir, up := strings.CutPrefix(strings.TrimSpace(line), "up ")
	if err != nil || !up {
		t.Fatalf("the nested lab said %q, %v", line, err)
	}
	n := nested{cmd: cmd, stdin: stdin, dir: dir}
	all := readProcesses()
	for pid := range all {
		if descends(all, pid, cmd.Process.Pid) {
			n.pids = append(n.pids, pid)
		}
	}
	return n
}

// gone waits until no process of the nested lab is left.
func (n nested) gone(t *testing.T) {
	t.Helper()
	var left []int
	for deadline := Now() + 10*time.Second; Now() < deadline; time.Sleep(10 * ms) {
		left = left[:0]
		all := readProcesses()
		for _, pid := range n.pids {
			if st, ok := all[pid]; ok && st.state != "Z" {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("still there: %v", left)
}

// A program that ends leaves neither processes nor files, and its exit code comes through.
func TestIsolate_endLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	n := startNested(t, tmp)
	if len(n.pids) < 20 {
		t.Errorf("the nested lab has %d processes: were they found?", len(n.pids))
	}
	if err := n.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := n.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != nestedCode {
		t.Errorf("it ended with %v, want exit code %d", err, nestedCode)
	}
	n.gone(t)
	if left := entries(t, tmp); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

// A program that is asked to end passes that on.
func TestIsolate_passesSignalsOn(t *testing.T) {
	n := startNested(t, t.TempDir())
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := n.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("it ended with %v, want exit code 143", err)
	}
	n.gone(t)
}

// A program that is killed leaves no processes; its folder is removed by the next lab, and only its folder.
func TestIsolate_killedLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	n := startNested(t, tmp)
	alive := startNested(t, tmp)
	if err := n.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = n.cmd.Wait() // killed
	n.gone(t)
	if _, err := os.Stat(n.dir); err != nil {
		t.Fatalf("the folder of the killed lab: %v", err)
	}
	t.Setenv("TMPDIR", tmp)
	d, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	d.remove()
	if got, want := entries(t, tmp), filepath.Base(alive.dir); len(got) != 1 || got[0] != want {
		t.Errorf("folders left: %v, want only that of the lab that is alive, %s", got, want)
	}
	if err := alive.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	_ = alive.cmd.Wait() // nestedCode
	alive.gone(t)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

// Close lets every namespace go and ends every process, in a program that lives on.
func TestLab_closeLeavesNothing(t *testing.T) {
	before := onlyOwn(t) // the threads of an earlier test's lab may be ending
	l, err := New(Options{Server: Kamailio})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(namespaces(t)); got != len(before)+5 {
		t.Errorf("%d namespaces while the lab is up, want 5 more than %d", got, len(before))
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	onlyOwn(t)
	all := readProcesses()
	for pid := range all {
		if pid != os.Getpid() && descends(all, pid, os.Getpid()) {
			t.Errorf("process %d is left", pid)
		}
	}
}

// onlyOwn waits until this process holds no network namespace but its own, and gives it.
func onlyOwn(t *testing.T) map[string]bool {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{own: true}, namespaces(t)
	for deadline := Now() + 5*time.Second; !maps.Equal(got, want) && Now() < deadline; got = namespaces(t) {
		time.Sleep(ms) // a thread ends a moment after its goroutine
	}
	if !maps.Equal(got, want) {
		t.Fatalf("namespaces %v, want only the own, %v", got, want)
	}
	return got
}

// namespaces are the network namespaces that this process holds, by a thread or an open file.
func namespaces(t *testing.T) map[string]bool {
	t.Helper()
	held := map[string]bool{}
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "net:") {
				held[to] = true
			}
		}
	}
	return held
}
