package vip

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

// child is the test binary as a process of its own, which holds the addresses and renews the lease until it is stopped or killed.
func child() {
	said := newReports()
	v, err := New(options(said))
	if err != nil {
		panic(err)
	}
	if err := v.CleanUp(context.Background()); err != nil {
		panic(err)
	}
	r := &running{VIP: v, said: said}
	r.keep(1)
	go func() {
		for range said.wake {
			if last, _ := said.last(); last.Held {
				fmt.Println("held")
			}
		}
	}()
	panic(v.Run(context.Background()))
}

// launchChild starts a child on the host and waits until it holds the addresses.
func launchChild(t testing.TB, h host) *os.Process {
	t.Helper()
	c := command(os.Args[0])
	c.Env = append(os.Environ(), "VIP_TEST_CHILD=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, c.Start) // it inherits the namespace of the thread that starts it
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return c.Process
}
