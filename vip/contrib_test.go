package vip

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// run is an Exec for tests.
func run(ctx context.Context, c Command) Result {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	p := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	p.Env = append(os.Environ(), c.Env...)
	out, err := p.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return Result{Code: exit.ExitCode(), Output: string(out)}
	}
	return Result{Output: string(out), Err: err}
}

// The example scripts do what is asked of scripts: each is idempotent, exits 0 if the address is there or gone, and else not.
func TestScript_examples(t *testing.T) {
	a, _ := pair(t)
	up, err := filepath.Abs("../contrib/vip/up.sh")
	if err != nil {
		t.Fatal(err)
	}
	said := newReports()
	o := DefaultScriptOptions()
	o.Up, o.Down, o.Interface, o.Cluster = up, filepath.Join(filepath.Dir(up), "down.sh"), wire, "test"
	o.Addresses, o.Clock, o.Report = group, raw.Clock, said.add
	o.Exec = func(ctx context.Context, c Command) (r Result) { // scripts run in goroutines of their own
		<-a.start(func() error { r = run(ctx, c); return nil })
		return r
	}
	s, err := NewScript(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range group {
			if err := s.exec(t.Context(), call{address: i, up: true, epoch: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := a.has(t)
	if len(got) != len(group) || got[vip6.Addr()].PreferedLft != 0 {
		t.Errorf("after up there are %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(s.CleanUp(ctx), s.CleanUp(ctx)); err != nil {
		t.Fatal(err)
	}
	if got := a.has(t); len(got) != 0 {
		t.Errorf("after down there are %v", got)
	}
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	s.Set(supervisor.Hold{Held: true, Epoch: 1, Until: raw.Clock() + time.Minute})
	said.await(t, "held", held(1))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := a.has(t); len(got) != 0 {
		t.Errorf("after the end there are %v", got)
	}
	a.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		return errors.Join(err, netlink.LinkDel(l))
	})
	if err := s.exec(t.Context(), call{up: true, epoch: 2}); err == nil {
		t.Error("up without the interface succeeded")
	}
}
