package supervisor

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var allStates = []State{Starting, Vacant, Witnessing, Following, Challenging, Claiming, Standing, Serving, Clinging, Yielding}

// guess draws events: messages, records and reports that may or may not fit each other.
type guess struct {
	rng   *rand.Rand
	epoch Epoch
	now   Now
	sent  []Action // of the core under test: answers may fit them
}

func newGuess(seed uint64) *guess {
	return &guess{rng: rand.New(rand.NewPCG(seed, 1)), now: Now{Mono: time.Hour, Wall: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}}
}

func pick[T any](g *guess, of ...T) T { return of[g.rng.IntN(len(of))] }

func (g *guess) near() Epoch {
	return Epoch(max(0, int64(g.epoch)+g.rng.Int64N(4)-2))
}

func (g *guess) upTo(d time.Duration) time.Duration { return time.Duration(g.rng.Int64N(int64(d))) }

// tick lets some time pass: mostly little, now and then long.
func (g *guess) tick() Now {
	d := g.upTo(15 * time.Millisecond)
	if g.rng.IntN(30) == 0 {
		d = g.upTo(3 * time.Second)
	}
	g.now.Mono, g.now.Wall = g.now.Mono+d, g.now.Wall.Add(d)
	return g.now
}

func (g *guess) message() Message {
	m := Message{Kind: Kind(1 + g.rng.IntN(int(KindRelease))), Epoch: g.near(), Seq: g.rng.Uint64N(8), Wait: pick(g, 0, 0, g.upTo(200*time.Millisecond))}
	if s, ok := pick(g, append(g.sent, Tick{})...).(Send); ok && g.rng.IntN(2) == 0 {
		m.Epoch, m.Seq = s.Message.Epoch, s.Message.Seq
		if s.Message.Kind == KindRenew || s.Message.Kind == KindProbe {
			m.Kind = pick(g, KindAck, KindProbeAck, KindNack)
		}
	}
	return m
}

func (Tick) action() {} // lets a test put it where an action goes

func (g *guess) event() Event {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	view := func() View {
		return View{Class: pick(g, ClassServing, ClassServing, ClassDead, ClassUnknown, ClassDraining)}
	}
	reasons := pick(g, nil, nil, nil, []Reason{ReasonServerDead}, []Reason{ReasonNIC}, []Reason{ReasonAddress}, []Reason{ReasonServerDrain})
	switch g.rng.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		return Received{From: pick[NodeID](g, "a", "b", "w", "x"), Message: g.message()}
	case 6, 7:
		g.epoch = max(g.epoch, g.near())
		r := Record{Epoch: g.near(), Primary: pick[NodeID](g, "a", "a", "b", "b")}
		if r.Epoch == 0 {
			r.Primary = ""
		}
		if g.rng.IntN(8) == 0 {
			r.Paused.Until = g.now.Wall.Add(g.upTo(time.Second))
		}
		return Applied{Record: r, Synced: g.rng.IntN(3) > 0}
	case 8:
		return Led{Leader: pick[NodeID](g, "a", "b", "w", "")}
	case 9:
		return Refused{Entry: Entry{Role: &RoleEntry{Epoch: g.near()}}, Err: pick(g, ErrBudget, ErrPaused, errors.New("no leader"))}
	case 10, 11:
		return Reported{Report{Node: pick[NodeID](g, "a", "b", "w"), Ready: g.rng.IntN(3) > 0, State: pick(g, allStates...), Epoch: g.near(),
			Reasons: reasons, Service: view(), Members: map[NodeID]View{"a": view(), "b": view()}}}
	case 12, 13:
		return Sensed{Reasons: reasons, Server: view(), Service: view(), Members: map[NodeID]View{"b": view()}}
	case 14:
		return AddressIs{AddressReport{Held: g.rng.IntN(2) == 0, Epoch: g.near(), Serial: g.rng.Uint64N(20), Err: pick(g, nil, nil, errors.New("x"))}}
	default:
		if g.rng.IntN(40) == 0 {
			return Leave{}
		}
		g.now.Wall = g.now.Wall.Add(ms(g.rng.IntN(200) - 100))
		return pick[Event](g, Tick{}, Lost{Node: pick[NodeID](g, "a", "b", "w")})
	}
}

func testCore(t *testing.T, self NodeID, policy QuorumLoss, now Now) *Core {
	t.Helper()
	timing, err := PresetDefault.Timing()
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Self: self, Nodes: []Node{{ID: "a"}, {ID: "b"}, {ID: "w", Witness: true}}, Timing: timing, OnQuorumLoss: policy,
		Budget: Budget{Count: 3, Per: time.Hour}, Fence: FenceNftables}, now)
}

// applying lists the rows that apply now.
func applying(c *Core) (whys []string) {
	for i := range table {
		if slices.Contains(table[i].from, c.state) && table[i].when(c) {
			whys = append(whys, table[i].why)
		}
	}
	return whys
}

// stepApart does what Step does and looks at the table wherever Step follows it.
func stepApart(t *testing.T, c *Core, now Now, ev Event) {
	t.Helper()
	c.out = nil
	c.now, c.started = now, true
	settle := func() {
		for range 8 {
			whys := applying(c)
			if len(whys) > 1 {
				t.Fatalf("in %s after %#v more than one row applies: %q", c.state, ev, whys)
			}
			r := c.row()
			if r == nil {
				return
			}
			c.enter(*r)
		}
		t.Fatalf("the table has a cycle at %s", c.state)
	}
	settle()
	c.take(ev)
	settle()
	c.duties()
	settle()
	c.announce()
}

// TestTable_rowsExcludeEachOther proves that at no moment of random lives of all nodes two rows apply (a first match would hide bugs).
func TestTable_rowsExcludeEachOther(t *testing.T) {
	seen := map[State]int{}
	for seed := range uint64(600) {
		g := newGuess(seed)
		policy := pick(g, Demote, Cling)
		c := testCore(t, pick[NodeID](g, "a", "b", "w"), policy, g.now)
		for range 400 {
			stepApart(t, c, g.tick(), g.event())
			g.sent = c.out
			seen[c.state]++
		}
	}
	for _, s := range allStates {
		if seen[s] == 0 {
			t.Errorf("no random life came to %s", s)
		}
	}
}

// TestCore_holdsOnlyWhatItMay proves of every Hold in random lives: asked for only in Serving or Clinging, for the record's epoch, not
// beyond the lease, with a serial that grows with every change, and never by a witness.
func TestCore_holdsOnlyWhatItMay(t *testing.T) {
	holds := 0
	for seed := range uint64(600) {
		g := newGuess(seed)
		self, policy := pick[NodeID](g, "a", "b", "w"), pick(g, Demote, Cling)
		c := testCore(t, self, policy, g.now)
		var last Hold
		for range 400 {
			ev := g.event()
			out := c.Step(g.tick(), ev)
			g.sent = out
			for _, a := range out {
				h, ok := a.(Hold)
				if !ok {
					continue
				}
				if h.Serial < last.Serial || h.Serial == last.Serial && (h.Held != last.Held || h.Epoch != last.Epoch) {
					t.Fatalf("seed %d: %+v after %+v", seed, h, last)
				}
				last = h
				if h.Held {
					holds++
				}
			}
			if last.Held && (self == "w" || c.state != Serving && c.state != Clinging || last.Epoch != c.record.Epoch ||
				last.Until > c.now.Mono+c.opt.Timing.Lease || policy == Demote && last.Until > c.lease.until) {
				t.Fatalf("seed %d: %s in %s of epoch %d holds %+v, lease until %v", seed, self, c.state, c.record.Epoch, last, c.lease.until)
			}
		}
	}
	if holds == 0 {
		t.Error("no random life held anything")
	}
}

// TestCore_answersEveryEventInEveryState proves that no event in no state panics, whatever came before.
func TestCore_answersEveryEventInEveryState(t *testing.T) {
	for _, s := range allStates {
		for seed := range uint64(200) {
			g := newGuess(seed)
			c := testCore(t, pick[NodeID](g, "a", "b"), pick(g, Demote, Cling), g.now)
			for range g.rng.IntN(30) {
				c.Step(g.tick(), g.event())
			}
			c.state = s
			for range 5 {
				c.Step(g.tick(), g.event())
			}
			if next := c.Next(); next <= c.now.Mono || next > c.now.Mono+c.opt.Timing.Report {
				t.Fatalf("%s: the next tick is at %v, now is %v", s, next, c.now.Mono)
			}
		}
	}
}

// FuzzStep feeds random lives to the core: no panic, and the table's rows exclude each other.
func FuzzStep(f *testing.F) {
	f.Add(uint64(1), uint16(50))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		g := newGuess(seed)
		c := testCore(t, pick[NodeID](g, "a", "b", "w"), pick(g, Demote, Cling), g.now)
		for range steps % 1000 {
			stepApart(t, c, g.tick(), g.event())
			g.sent = c.out
		}
	})
}
