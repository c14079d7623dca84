package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// script is a sender that does as it is told and takes notes of when it was called.
type script struct {
	mu    sync.Mutex
	began time.Time
	calls []string
	do    func(ctx context.Context, call int) error
}

func (s *script) send(ctx context.Context, n Notice) error {
	s.mu.Lock()
	s.calls = append(s.calls, fmt.Sprint(n.Alarm.ID, "@", time.Since(s.began)))
	call := len(s.calls)
	s.mu.Unlock()
	if s.do == nil {
		return nil
	}
	return s.do(ctx, call)
}

func (s *script) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.calls, want) {
		t.Errorf("calls %v, want %v", s.calls, want)
	}
}

type laneTest struct {
	*lane
	script *script
	mu     sync.Mutex
	done   []uint64
	active bool
}

func newLane(t *testing.T, do func(ctx context.Context, call int) error) *laneTest {
	l := &laneTest{script: &script{began: time.Now(), do: do}, active: true}
	l.lane = &lane{
		name: "x", sender: l.script, limit: 10 * time.Second, log: zap.NewNop(), wake: make(chan struct{}, 1),
		active: func(Notice) bool { l.mu.Lock(); defer l.mu.Unlock(); return l.active },
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); l.run(ctx) }()
	t.Cleanup(func() { cancel(); <-stopped })
	return l
}

func (l *laneTest) tellID(id uint64) {
	n := raised()
	n.Alarm.ID = id
	l.tell(n, func() { l.mu.Lock(); defer l.mu.Unlock(); l.done = append(l.done, id) })
}

func (l *laneTest) setActive(active bool) { l.mu.Lock(); defer l.mu.Unlock(); l.active = active }

func (l *laneTest) dones() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) }

var errDown = errors.New("down")

// What is tried again waits longer each time, a minute at most, as long as the alarm is active; then four tries are enough.
func TestLane_insists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(t, func(context.Context, int) error { return errDown })
		l.insist = true
		l.tellID(1)
		time.Sleep(4 * time.Minute)
		l.script.want(t, "1@0s", "1@1s", "1@3s", "1@7s", "1@15s", "1@31s", "1@1m3s", "1@2m3s", "1@3m3s")
		if l.dones() != 1 {
			t.Errorf("done %d times", l.dones())
		}
		l.setActive(false)
		time.Sleep(time.Hour)
		l.script.want(t, "1@0s", "1@1s", "1@3s", "1@7s", "1@15s", "1@31s", "1@1m3s", "1@2m3s", "1@3m3s", "1@4m3s")
	})
}

// S4-34: where nobody insists there is one try, or three; a refusal is no reason to try again.
func TestLane_tries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		once, thrice := newLane(t, func(context.Context, int) error { return errDown }), newLane(t, func(context.Context, int) error { return errDown })
		never := newLane(t, func(context.Context, int) error { return permanent(errDown) })
		thrice.tries, never.insist = 3, true
		for _, l := range []*laneTest{once, thrice, never} {
			l.tellID(1)
		}
		time.Sleep(time.Hour)
		once.script.want(t, "1@0s")
		thrice.script.want(t, "1@0s", "1@1s", "1@3s")
		never.script.want(t, "1@0s")
	})
}

// A reaction that hangs is ended at its limit, keeps nobody waiting, and what waits for it is bounded; who is dropped is told so.
func TestLane_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(t, func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() })
		for i := range uint64(2000) {
			l.tellID(i)
		}
		synctest.Wait()
		l.lane.mu.Lock()
		if len(l.queue) != laneLimit || l.dropped != 2000-laneLimit {
			t.Errorf("%d wait, %d dropped", len(l.queue), l.dropped)
		}
		l.lane.mu.Unlock()
		l.setActive(false) // what has ended makes room for what is new, except the one under way
		l.tellID(5000)
		l.lane.mu.Lock()
		if l.queue[0].n.Alarm.ID != 0 || l.queue[1].n.Alarm.ID != 2 || l.queue[laneLimit-1].n.Alarm.ID != 5000 {
			t.Errorf("%d, %d ... %d", l.queue[0].n.Alarm.ID, l.queue[1].n.Alarm.ID, l.queue[laneLimit-1].n.Alarm.ID)
		}
		l.lane.mu.Unlock()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if l.dones() != 2001 {
			t.Errorf("%d of 2001 done", l.dones())
		}
	})
}

// A hook that hangs delays no other reaction, and no entry.
func TestEngine_hookHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed int
		var mu sync.Mutex
		p := newPair(t, func(o *Options) {
			o.Reactions = append(o.Reactions, Reaction{Name: "slow", Limit: time.Minute, Exec: &Exec{Argv: []string{"/bin/slow", "slow"}}})
			o.Default = []string{"slow", "tell"}
			o.Failed = func(name string, _ Notice, err error) {
				mu.Lock()
				defer mu.Unlock()
				if name == "slow" && errors.Is(err, context.DeadlineExceeded) {
					failed++
				}
			}
		})
		p.mu.Lock()
		p.exec = func(_ supervisor.NodeID, arg string) Result {
			if arg == "slow" {
				time.Sleep(time.Minute)
				return Result{Err: context.DeadlineExceeded}
			}
			return Result{}
		}
		p.mu.Unlock()
		p.engines["edge-b"].Post(Event{Name: "nic-down"})
		p.engines["edge-b"].Post(Event{Name: "vip-missing"})
		settle()
		if len(p.now().Active) != 2 {
			t.Errorf("%+v", p.now().Active)
		}
		p.mu.Lock()
		slices.Sort(p.ran) // of what runs side by side, either may be first
		p.mu.Unlock()
		p.wantRan("edge-a raised nic-down edge-b", "edge-a raised nic-down edge-b slow", "edge-a raised vip-missing edge-b")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if failed != 2 {
			t.Errorf("failed %d times, want 2", failed)
		}
		for _, a := range p.now().Active {
			if a.Told != "edge-a" {
				t.Errorf("%+v", a)
			}
		}
	})
}
