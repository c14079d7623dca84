package vip

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

// child is the test binary as a process of its own, which takes the addresses. "keep": it renews the lease until it is stopped or
// killed. "freeze": it takes a lease of 150 ms once, says on standard output when it ends, and stops itself.
func child(what string) {
	said := newReports()
	v, err := New(options(said))
	if err != nil {
		panic(err)
	}
	if err := v.CleanUp(context.Background()); err != nil {
		panic(err)
	}
	r := &running{VIP: v, said: said}
	until := raw.Clock() + 150*time.Millisecond
	if what == "keep" {
		r.keep(1)
	} else {
		v.Set(supervisor.Hold{Held: true, Epoch: 1, Until: until})
	}
	go func() {
		for range said.wake {
			if last, _ := said.last(); last.Held {
				fmt.Println(int64(until))
				if what == "freeze" {
					unix.Kill(os.Getpid(), unix.SIGSTOP)
				}
			}
		}
	}()
	panic(v.Run(context.Background()))
}

// offspring is a child that holds the addresses.
type offspring struct {
	*exec.Cmd
	until time.Duration // freeze: when its lease ends
}

// launchChild starts a child on the host and waits until it holds the addresses.
func launchChild(t testing.TB, h host, what string) *offspring {
	t.Helper()
	c := command(os.Args[0])
	c.Env = append(os.Environ(), "VIP_TEST_CHILD="+what)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, c.Start) // it inherits the namespace of the thread that starts it
	o := &offspring{Cmd: c}
	t.Cleanup(o.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscan(line, (*int64)(&o.until)); err != nil || scanErr != nil {
		rest, _ := io.ReadAll(out)
		t.Fatalf("child says %q %q, %v", line, rest, err)
	}
	return o
}

// kill ends it the hard way. Repeating it is harmless.
func (o *offspring) kill() {
	if o.ProcessState == nil {
		o.Process.Kill()
		o.Wait()
	}
}
