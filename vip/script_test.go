package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

// effectors have one surface.
type effectorPort interface {
	Set(supervisor.Hold)
	Run(context.Context) error
	CleanUp(context.Context) error
	Fence() supervisor.Fence
}

var (
	_ effectorPort = (*VIP)(nil)
	_ effectorPort = (*Script)(nil)
	_ effectorPort = (*Fake)(nil)
)

// scripts is a model of scripts that take their time and fail, in a bubble.
type scripts struct {
	t     *testing.T
	start time.Time

	mu      sync.Mutex
	log     []string
	takes   time.Duration
	fail    map[string]bool // "up 192.0.2.1/32"
	running int
	up      map[string]bool
}

func (s *scripts) clock() time.Duration { return time.Since(s.start) + time.Hour }

func (s *scripts) exec(ctx context.Context, c Command) Result {
	what := c.Argv[1] + " " + c.Argv[2]
	s.mu.Lock()
	if s.running++; s.running > 1 {
		s.t.Errorf("%s: another script runs", what)
	}
	s.log = append(s.log, what+" "+c.Argv[5])
	takes, fails := s.takes, s.fail[what]
	s.mu.Unlock()
	var r Result
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		r.Err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if fails {
		r = Result{Code: 7, Output: "no such device"}
	}
	if r.Err == nil && r.Code == 0 {
		s.up[c.Argv[2]] = c.Argv[1] == "up"
	}
	return r
}

// did gives what ran since the last call.
func (s *scripts) did() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	log := strings.Join(s.log, ", ")
	s.log = nil
	return log
}

func (s *scripts) failing(what string, fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[what] = fails
}

const one, two = "192.0.2.1/32", "2001:db8::1/128"

// scripted runs a Script in a bubble.
func inScript(t *testing.T, test func(*testing.T, *Script, *scripts, *reports)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripts{t: t, start: time.Now(), takes: 100 * ms, fail: map[string]bool{}, up: map[string]bool{}}
		said := newReports()
		o := DefaultScriptOptions()
		o.Up, o.Down, o.Interface, o.Cluster = "/up.sh", "/down.sh", "eth0", "pbx"
		o.Addresses = []netip.Prefix{netip.MustParsePrefix(one), netip.MustParsePrefix(two)}
		o.Clock, o.Exec, o.Report = s.clock, s.exec, said.add
		v, err := NewScript(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := v.CleanUp(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := s.did(), "down "+one+" 0, down "+two+" 0"; got != want {
			t.Errorf("clean-up ran %s, want %s", got, want)
		}
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		test(t, v, s, said)
		s.did()
		cancel()
		if err := <-done; err != nil && !strings.Contains(err.Error(), "exit code 7") {
			t.Error(err)
		}
		if s.fail["down "+one] {
			s.expect(t, slices.Repeat([]string{"down " + one + " 1"}, lastTries)...)
		}
		if s.up[one] && !s.fail["down "+one] {
			t.Error("left up at the end")
		}
	})
}

func (s *scripts) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := s.did(); got != strings.Join(want, ", ") {
		t.Errorf("ran: %s\nwant: %s", got, strings.Join(want, ", "))
	}
}

// One up per address, in order; renewals run nothing; one down per address.
func TestScript_upAndDown(t *testing.T) {
	inScript(t, func(t *testing.T, v *Script, s *scripts, said *reports) {
		for range 100 {
			v.Set(supervisor.Hold{Held: true, Epoch: 3, Until: s.clock() + 150*ms})
			time.Sleep(20 * ms)
		}
		s.expect(t, "up "+one+" 3", "up "+two+" 3")
		said.await(t, "held", held(3))
		v.Set(supervisor.Hold{Epoch: 3})
		time.Sleep(time.Second)
		s.expect(t, "down "+one+" 3", "down "+two+" 3")
		said.await(t, "not held", notHeld)
	})
}

// A lease that ends takes the addresses down, also in the middle of an up, which is ended.
func TestScript_leaseEnds(t *testing.T) {
	inScript(t, func(t *testing.T, v *Script, s *scripts, said *reports) {
		s.takes = 100 * ms
		v.Set(supervisor.Hold{Held: true, Epoch: 1, Until: s.clock() + 150*ms})
		time.Sleep(160 * ms)
		s.expect(t, "up "+one+" 1", "up "+two+" 1", "down "+one+" 1")
		time.Sleep(time.Second)
		s.expect(t, "down "+two+" 1")
		said.await(t, "not held", notHeld)
	})
}

// A script that hangs doesn't delay the opposite order, and never runs for an epoch older than the newest seen.
func TestScript_newestWins(t *testing.T) {
	inScript(t, func(t *testing.T, v *Script, s *scripts, said *reports) {
		s.takes = time.Hour
		v.Set(supervisor.Hold{Held: true, Epoch: 1, Until: s.clock() + 2*time.Hour})
		time.Sleep(time.Second)
		s.expect(t, "up "+one+" 1")
		s.takes = 100 * ms
		v.Set(supervisor.Hold{Epoch: 4})
		v.Set(supervisor.Hold{Held: true, Epoch: 3, Until: s.clock() + 2*time.Hour})
		time.Sleep(time.Second)
		s.expect(t, "down "+one+" 4")
		said.await(t, "not held", notHeld)
		v.Set(supervisor.Hold{Held: true, Epoch: 5, Until: s.clock() + 2*time.Hour})
		time.Sleep(time.Second)
		v.Set(supervisor.Hold{Held: true, Epoch: 6, Until: s.clock() + 2*time.Hour})
		time.Sleep(time.Second)
		s.expect(t, "up "+one+" 5", "up "+two+" 5", "up "+one+" 6", "up "+two+" 6")
		said.await(t, "held", held(6))
	})
}

// A failing up is reported, tried again with growing pauses, and the next address waits for it.
func TestScript_upFails(t *testing.T) {
	inScript(t, func(t *testing.T, v *Script, s *scripts, said *reports) {
		s.failing("up "+one, true)
		v.Set(supervisor.Hold{Held: true, Epoch: 1, Until: s.clock() + time.Hour})
		time.Sleep(8 * time.Second)
		s.expect(t, slices.Repeat([]string{"up " + one + " 1"}, 4)...)
		r := said.await(t, "an error", func(r supervisor.AddressReport) bool { return r.Err != nil })
		if want := `/up.sh up 192.0.2.1/32: exit code 7: "no such device"`; r.Held || r.Err.Error() != want {
			t.Errorf("report %+v, want error %s", r, want)
		}
		s.failing("up "+one, false)
		time.Sleep(10 * time.Second)
		s.expect(t, "up "+one+" 1", "up "+two+" 1")
		said.await(t, "held", held(1))
	})
}

// A failing down doesn't keep the other address up; at the end it is tried three times.
func TestScript_downFails(t *testing.T) {
	inScript(t, func(t *testing.T, v *Script, s *scripts, said *reports) {
		v.Set(supervisor.Hold{Held: true, Epoch: 1, Until: s.clock() + time.Hour})
		time.Sleep(time.Second)
		s.did()
		s.failing("down "+one, true)
		v.Set(supervisor.Hold{Epoch: 1})
		time.Sleep(time.Second)
		s.expect(t, "down "+one+" 1", "down "+two+" 1")
		said.await(t, "an error", func(r supervisor.AddressReport) bool { return r.Err != nil })
	})
}

// The environment and the arguments of a script are what its documentation says.
func TestScript_command(t *testing.T) {
	var got Command
	o := DefaultScriptOptions()
	o.Up, o.Down, o.Interface, o.Cluster = "/up.sh", "/down.sh", "eth0", "pbx"
	o.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	o.Clock = raw.Clock
	o.Exec = func(_ context.Context, c Command) Result { got = c; return Result{Err: errors.New("over its limit")} }
	s, err := NewScript(o)
	if err != nil {
		t.Fatal(err)
	}
	err = s.exec(t.Context(), call{up: true, epoch: 9})
	if want := "/up.sh up 192.0.2.1/24: over its limit"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	want := "[/up.sh up 192.0.2.1/24 eth0 primary 9] [UNDERSTUDY_VIP=192.0.2.1 UNDERSTUDY_PREFIX=24 UNDERSTUDY_INTERFACE=eth0" +
		" UNDERSTUDY_ROLE=primary UNDERSTUDY_EPOCH=9 UNDERSTUDY_CLUSTER=pbx] 10s"
	if got := fmt.Sprint(got.Argv, got.Env, got.Limit); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
