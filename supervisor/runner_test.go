package supervisor

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair is three runners on a perfect network and a log that commits at once, in virtual time.
type pair struct {
	t     *testing.T
	start time.Time

	running sync.WaitGroup

	mu     sync.Mutex
	record Record
	seats  map[NodeID]*seat
}

// seat is one node's place at the table: its runner, its address and whether it is cut off.
type seat struct {
	p      *pair
	id     NodeID
	runner *Runner
	ctx    context.Context //nolint:containedctx // a run's, from sit to start
	stop   func()

	options Options
	cut     bool
	hold    Hold
	became  []State
}

func (p *pair) now() Now { return Now{Mono: time.Since(p.start), Wall: time.Now()} }

func (s *seat) reach(id NodeID) *seat {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	to := s.p.seats[id]
	if s.cut || to == nil || to.cut {
		return nil
	}
	return to
}

func (s *seat) Send(to NodeID, m Message) {
	if peer := s.reach(to); peer != nil {
		time.AfterFunc(100*time.Microsecond, func() { peer.runner.Post(Received{From: s.id, Message: m}) })
	}
}

func (s *seat) Report(r Report) {
	for _, id := range []NodeID{"a", "b", "w"} {
		if peer := s.reach(id); peer != nil && id != s.id {
			time.AfterFunc(100*time.Microsecond, func() { peer.runner.Post(Reported{Report: r}) })
		}
	}
}

func (s *seat) Propose(e Entry) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	next, err := p.record.Apply(e)
	if s.cut || err != nil {
		return // nobody answers; the core asks again
	}
	p.record = next
	for _, peer := range p.seats {
		if !peer.cut {
			time.AfterFunc(2*time.Millisecond, func() { peer.runner.Post(Applied{Record: next, Synced: true}) })
		}
	}
}

func (s *seat) Campaign()       {}
func (s *seat) Transfer(NodeID) {}
func (s *seat) Alert(Alert)     {}
func (s *seat) Announce()       {}

func (s *seat) Set(h Hold) {
	s.p.mu.Lock()
	s.hold = h
	s.p.mu.Unlock()
	if !h.Held {
		time.AfterFunc(time.Microsecond, func() {
			s.runner.Post(AddressIs{AddressReport{Epoch: h.Epoch, Serial: h.Serial}})
		})
	}
}

func (s *seat) Became(b Became) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.became = append(s.became, b.To)
}

// holders are the nodes whose address is up at this moment.
func (p *pair) holders() []NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []NodeID
	for id, s := range p.seats {
		if s.hold.Held && p.now().Mono < s.hold.Until {
			ids = append(ids, id)
		}
	}
	return ids
}

// bindWait is the pair's Options.BindWait.
const bindWait = 2 * time.Second

func newPair(t *testing.T) *pair {
	p := &pair{t: t, start: time.Now(), seats: map[NodeID]*seat{}}
	timing, err := PresetDefault.Timing()
	if err != nil {
		t.Fatal(err)
	}
	nodes := []Node{{ID: "a"}, {ID: "b"}, {ID: "w", Witness: true}}
	for _, n := range nodes {
		s := &seat{p: p, id: n.ID}
		s.options = Options{
			Self: n.ID, Nodes: nodes, Timing: timing, Budget: Budget{3, time.Hour}, Fence: FenceNftables, BindWait: bindWait,
		}
		p.seats[n.ID] = s
		s.sit()
	}
	for _, s := range p.seats {
		s.start()
	}
	t.Cleanup(func() {
		for _, s := range p.seats {
			s.stop()
		}
		p.running.Wait()
	})
	return p
}

// sit makes the seat's runner.
func (s *seat) sit() {
	alarm := time.AfterFunc(time.Hour, func() { s.runner.Ring() })
	s.runner = NewRunner(s.options,
		Ports{Clock: s.p.now, Wire: s, Log: s, Address: s, Audience: s, Alarm: func(d time.Duration) { alarm.Reset(d) }})
	ctx, cancel := context.WithCancel(s.p.t.Context())
	s.ctx, s.stop = ctx, func() { cancel(); alarm.Stop() }
}

// start runs it, with the record as it is.
func (s *seat) start() {
	runner, ctx := s.runner, s.ctx
	s.p.running.Go(func() {
		if err := runner.Run(ctx); err != nil {
			s.p.t.Errorf("Run: got %v, want nil", err)
		}
	})
	s.p.mu.Lock()
	record := s.p.record
	s.p.mu.Unlock()
	runner.Post(Applied{Record: record, Synced: true})
	runner.Post(Led{Leader: "w"})
	if s.id != "w" {
		runner.Post(Sensed{Server: View{Class: ClassServing}})
	}
}

// restart ends a node's process and starts another.
func (p *pair) restart(id NodeID) {
	s := p.seats[id]
	s.stop()
	synctest.Wait()
	s.options.Boot++
	s.sit()
	s.start()
}

// reasons are a node's own, as it reports them.
func (p *pair) reasons(id NodeID) (rs []Reason) {
	p.t.Helper()
	if err := p.seats[id].runner.Look(p.t.Context(), func(c *Core, _ Now) { rs = c.Report().Reasons }); err != nil {
		p.t.Fatal(err)
	}
	return rs
}

func (p *pair) wantHolder(want NodeID) {
	p.t.Helper()
	if got := p.holders(); len(got) != 1 || got[0] != want {
		p.t.Fatalf("holders: got %v, want [%s]", got, want)
	}
}

// A pair chooses its first primary; when that is cut off, the other takes over after the lease and not before.
func TestRunner_takeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.wantHolder("a")

		p.mu.Lock()
		p.seats["a"].cut = true
		p.mu.Unlock()
		cut := time.Now()
		for len(p.holders()) > 0 && p.holders()[0] == "a" || len(p.holders()) == 0 {
			if got := p.holders(); len(got) > 1 {
				t.Fatalf("holders: got %v, want at most one", got)
			}
			time.Sleep(time.Millisecond)
			if time.Since(cut) > time.Second {
				t.Fatal("nobody took over within a second")
			}
		}
		p.wantHolder("b")
		if got, limit := time.Since(cut), 160*time.Millisecond; got > limit {
			t.Errorf("take-over: got %v, want at most %v", got, limit)
		}
	})
}

// Leave hands the role over before it returns.
func TestRunner_leave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.wantHolder("a")
		if err := p.seats["a"].runner.Leave(t.Context()); err != nil {
			t.Fatalf("Leave: got %v, want nil", err)
		}
		time.Sleep(50 * time.Millisecond)
		p.wantHolder("b")
	})
}

// With nobody to take the role, Leave does not wait for anybody.
func TestRunner_leaveAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.wantHolder("a")
		p.seats["b"].runner.Post(Sensed{Server: View{Class: ClassDead}, Reasons: []Reason{ReasonServerDead}})
		time.Sleep(time.Second)
		start := time.Now()
		if err := p.seats["a"].runner.Leave(t.Context()); err != nil {
			t.Fatalf("Leave: got %v, want nil", err)
		}
		if took, limit := time.Since(start), 200*time.Millisecond; took > limit {
			t.Errorf("Leave took %v, want at most %v", took, limit)
		}
		if got := p.holders(); len(got) != 0 {
			t.Errorf("holders: got %v, want none", got)
		}
	})
}

// Run drops the address when it is told to end without a hand-over.
func TestRunner_endDropsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.seats["a"].stop()
		synctest.Wait()
		if got := p.holders(); len(got) != 0 {
			t.Errorf("holders: got %v, want none", got)
		}
	})
}
