package alarm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// S4-34, S4-35, S4-52: 00-52027 raises, 00-52028 ends; reactions run once, on the primary; further detections are only counted.
func TestEngine_machine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		b := p.engines["edge-b"]
		b.Post(Event{Name: "nic-up"}) // there is nothing to end
		b.Post(Event{Name: "nic-down", Evidence: "eth1: no carrier"})
		settle()
		p.wantRan("edge-a raised nic-down edge-b")
		p.wantOps("edge-b:detect edge-a:told")
		a, _ := p.now().Find("nic-down", "edge-b")
		if a.EventID != "00-52027" || a.Severity != major || a.Text == "" || a.Evidence == "" || a.Node != "edge-b" || a.Told != "edge-a" {
			t.Errorf("%+v", a)
		}
		for range 7 {
			b.Post(Event{ID: "00-52027", Name: "nic-down"})
		}
		settle()
		p.wantOps("edge-b:detect edge-a:told")
		time.Sleep(repeatEvery)
		p.wantOps("edge-b:detect edge-a:told edge-b:detect")
		if a, _ := p.now().Find("nic-down", "edge-b"); a.Count != 8 {
			t.Errorf("count %d, want 8", a.Count)
		}
		b.Post(Event{ID: "00-52028"}) // by number alone no condition is named: the built-in ones go by name
		settle()
		if _, ok := p.now().Find("nic-down", "edge-b"); !ok {
			t.Error("ended by a number that its condition does not name")
		}
		b.Post(Event{Name: "nic-up"})
		settle()
		p.wantRan("edge-a raised nic-down edge-b", "edge-a cleared nic-down edge-b")
		for id, e := range p.engines {
			if l := e.List(); len(l.Active) != 0 || len(l.Pending) != 0 || len(l.Cleared) != 1 || l.Cleared[0].Clearing != supervisor.AlarmCancelEvent {
				t.Errorf("%s shows %+v", id, l)
			}
		}
	})
}

// S4-31: an alarm ends by time, counted from its first detection; one node says so.
func TestEngine_cancelTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.engines["wit-1"].Post(Event{Name: "role-changed", Object: "pair"})
		time.Sleep(3 * time.Second)
		p.engines["wit-1"].Post(Event{Name: "role-changed", Object: "pair"}) // does not start the timer again
		time.Sleep(atOnce - 3*time.Second - time.Millisecond)
		if _, ok := p.now().Find("role-changed", "pair"); !ok {
			t.Fatal("ended too soon")
		}
		time.Sleep(20 * time.Millisecond)
		p.wantOps("wit-1:detect edge-a:told edge-a:timeout edge-a:told-clear")
		time.Sleep(time.Minute)
		p.wantRan("edge-a raised role-changed pair", "edge-a cleared role-changed pair")
		p.engines["wit-1"].Post(Event{Name: "role-changed", Object: "pair"}) // soon again: an alarm of its own, which reacts anew
		settle()
		p.wantRan("edge-a raised role-changed pair", "edge-a cleared role-changed pair", "edge-a raised role-changed pair")
	})
}

// Detections that are counted meanwhile do not start the timer again.
func TestEngine_cancelTimerRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.engines["edge-b"].Post(Event{Name: "loop-late"})
		for range 9 {
			time.Sleep(time.Minute)
			p.engines["edge-b"].Post(Event{Name: "loop-late"})
		}
		time.Sleep(time.Minute - 100*time.Millisecond)
		if a, ok := p.now().Find("loop-late", "edge-b"); !ok || a.Count != 10 {
			t.Errorf("%+v", a)
		}
		time.Sleep(200 * time.Millisecond)
		if a, ok := p.now().Find("loop-late", "edge-b"); ok {
			t.Errorf("not ended: %+v", a)
		}
	})
}

// A timer ends its alarm also when the node whose turn it is does not live.
func TestEngine_cancelTimeoutByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.engines["wit-1"].Post(Event{Name: "loop-late"})
		settle()
		p.stops["edge-a"]()
		time.Sleep(aWhile + stagger + time.Second)
		p.wantOps("wit-1:detect edge-a:told edge-b:timeout")
		p.move("edge-b")
		settle()
		p.wantRan("edge-a raised loop-late wit-1", "edge-b cleared loop-late wit-1")
	})
}

// Without a majority the node that sees something shows it, reacts by itself, and commits it later, once and without a second reaction.
func TestEngine_noMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.cutOff(true, "edge-a", "edge-b", "wit-1")
		b := p.engines["edge-b"]
		b.Post(Event{Name: "quorum-lost", Object: "pair"})
		b.Post(Event{Name: "nic-down"})
		settle()
		p.wantRan() // it may be over in a moment
		if l := b.List(); len(l.Pending) != 2 || l.Pending[0].ID != 0 {
			t.Errorf("%+v", l)
		}
		time.Sleep(5 * time.Second)
		p.wantRan("edge-b raised quorum-lost pair", "edge-b raised nic-down edge-b")
		b.Post(Event{Name: "nic-up"})
		settle()
		p.wantRan("edge-b raised quorum-lost pair", "edge-b raised nic-down edge-b", "edge-b cleared nic-down edge-b")
		time.Sleep(time.Hour)
		if p.proposals() > 1000 {
			t.Errorf("%d proposals in an hour without a majority", p.proposals())
		}
		p.cutOff(false, "edge-a", "edge-b", "wit-1")
		time.Sleep(10 * time.Second)
		p.wantRan("edge-b raised quorum-lost pair", "edge-b raised nic-down edge-b", "edge-b cleared nic-down edge-b")
		p.wantOps("edge-b:detect edge-b:detect edge-b:cancel")
		if l := b.List(); len(l.Pending) != 0 || len(l.Active) != 1 || l.Active[0].Told != "edge-b" {
			t.Errorf("%+v", l)
		}
	})
}

// What goes up and down while nothing can be committed takes no memory: the last state counts.
func TestEngine_flapsWithoutMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.cutOff(true, "edge-b")
		b := p.engines["edge-b"]
		for range 1000 {
			b.Post(Event{Name: "nic-down"})
			b.Post(Event{Name: "nic-up"})
		}
		b.Post(Event{Name: "nic-down"})
		b.mu.Lock()
		if n := b.backlog.count(); n > 3 {
			t.Errorf("%d entries wait", n)
		}
		b.mu.Unlock()
		p.cutOff(false, "edge-b")
		time.Sleep(time.Minute)
		a, ok := p.now().Find("nic-down", "edge-b")
		if !ok || p.committed() > 8 {
			t.Errorf("%+v after %s", a, p.ops())
		}
		total := a.Count
		for _, c := range p.now().Cleared {
			total += c.Count
		}
		if total != 1001 {
			t.Errorf("counted %d of 1001 detections", total)
		}
	})
}

// A proposer that does not know the outcome is asked again with the same number: the entry counts once.
func TestEngine_unknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.mu.Lock()
		p.lie = func(supervisor.AlarmEntry) error { return errUnknown }
		p.mu.Unlock()
		for i := range 3 {
			p.engines["edge-b"].Post(Event{Name: "nic-down", Object: fmt.Sprint("eth", i)})
		}
		time.Sleep(time.Minute)
		if p.committed() != 6 || len(p.now().Active) != 3 {
			t.Errorf("log: %s", p.ops())
		}
		for _, a := range p.now().Active {
			if a.Count != 1 {
				t.Errorf("%+v", a)
			}
		}
	})
}

// The same where the committed table comes late: then only the number tells that it was committed.
func TestEngine_unknownOutcomeAndLateTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		first := true
		p.mu.Lock()
		p.blind = map[supervisor.NodeID]bool{"edge-b": true}
		p.lie = func(e supervisor.AlarmEntry) error {
			if e.Node == "edge-b" && first {
				first = false
				return errUnknown
			}
			return nil
		}
		p.mu.Unlock()
		p.engines["edge-b"].Post(Event{Name: "nic-down"})
		time.Sleep(time.Minute)
		p.mu.Lock()
		p.blind = nil
		p.tellAll()
		p.mu.Unlock()
		p.engines["edge-b"].Post(Event{Name: "vip-missing"})
		settle()
		if a, _ := p.now().Find("nic-down", "edge-b"); a.Count != 1 || len(p.now().Active) != 2 {
			t.Errorf("%+v\nlog: %s", a, p.ops())
		}
	})
}

// A primary that dies before it has told anybody leaves that to the next one; what it has told, nobody tells again.
func TestEngine_primaryDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.engines["edge-b"].Post(Event{Name: "nic-down", Object: "one"})
		settle()
		p.stops["edge-a"]()
		p.engines["edge-b"].Post(Event{Name: "nic-down", Object: "two"})
		settle()
		p.wantRan("edge-a raised nic-down one")
		p.move("edge-b")
		settle()
		p.wantRan("edge-a raised nic-down one", "edge-b raised nic-down two")
		p.start("edge-a")
		p.move("edge-a")
		settle()
		p.wantRan("edge-a raised nic-down one", "edge-b raised nic-down two")
	})
}

// While nobody is primary, whoever raised the alarm reacts.
func TestEngine_noPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.move("")
		p.engines["wit-1"].Post(Event{Name: "no-primary", Object: "pair"})
		settle()
		p.wantRan("wit-1 raised no-primary pair")
		p.move("edge-b")
		settle()
		p.wantRan("wit-1 raised no-primary pair")
	})
}

// Reactions run where they are configured to, also when a node has just come up: old alarms are no news to it.
func TestEngine_where(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(o *Options) {
			o.Reactions = []Reaction{
				{Name: "one", Exec: &Exec{Argv: []string{"/bin/tell", "primary"}}},
				{Name: "all", Where: OnEvery, Exec: &Exec{Argv: []string{"/bin/tell", "every"}}},
				{Name: "raiser", Where: OnRaising, Exec: &Exec{Argv: []string{"/bin/tell", "raising"}}},
			}
			o.Default = []string{"one", "all", "raiser"}
			o.Conditions = Merge([]Condition{{Name: "nic-down", Severity: minor, Detect: "00-52027", Cancel: "00-52028", Enabled: true, Clearance: []string{"raiser"}}})
		})
		p.engines["edge-b"].Post(Event{Name: "nic-down"})
		settle()
		p.mu.Lock()
		slices.Sort(p.ran)
		p.mu.Unlock()
		want := []string{
			"edge-a raised nic-down edge-b every", "edge-a raised nic-down edge-b primary", "edge-b raised nic-down edge-b every",
			"edge-b raised nic-down edge-b raising", "wit-1 raised nic-down edge-b every",
		}
		p.wantRan(want...)
		p.stops["wit-1"]()
		p.start("wit-1")
		p.engines["edge-b"].Post(Event{ID: "00-52028"})
		settle()
		p.wantRan(append(want, "edge-b cleared nic-down edge-b raising")...)
	})
}

// A replayed log is old news; what was never told is told once the table is complete.
func TestEngine_replay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(o *Options) {
			o.Reactions = append(o.Reactions, Reaction{Name: "all", Where: OnEvery, Exec: &Exec{Argv: []string{"/bin/tell", "every"}}})
			o.Default = []string{"tell", "all"}
		})
		e := p.engines["edge-a"]
		p.cutOff(true, "edge-a")
		var table supervisor.Alarms
		for i := range 5 {
			x := detection(Condition{Name: "nic-down", Severity: major}, Event{Object: fmt.Sprint(i), At: time.Now()})
			x.Node = "edge-b"
			table, _ = table.Apply(x)
			if i != 3 {
				table, _ = table.Apply(supervisor.AlarmEntry{Op: supervisor.AlarmTold, ID: table.LastID, Node: "edge-b", At: time.Now()})
			}
			e.Applied(table, Role{Primary: "edge-a"})
		}
		settle()
		p.wantRan()
		e.Applied(table, Role{Primary: "edge-a", Synced: true})
		settle()
		p.wantRan("edge-a raised nic-down 3")
	})
}

// A node that comes up says once that all is well, before it knows the table: the alarm from before ends all the same. That a thousand
// devices are well takes no room from what is not.
func TestEngine_endBeforeTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.engines["edge-b"].Post(Event{Name: "nic-down"})
		settle()
		p.stops["edge-b"]()
		e, err := New(p.options["edge-b"])
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.Run(ctx) }()
		e.Post(Event{Name: "nic-up"})
		for i := range 1000 {
			e.Post(Event{Name: "device-in-service", Object: fmt.Sprint(i)})
		}
		e.Post(Event{Name: "vip-unexpected"})
		e.Applied(supervisor.Alarms{}, Role{Primary: "edge-a"})
		settle()
		if _, ok := p.now().Find("vip-unexpected", "edge-b"); !ok {
			t.Error("not raised before the table was complete")
		}
		p.mu.Lock()
		p.engines["edge-b"] = e
		p.tellAll()
		p.mu.Unlock()
		settle()
		if a, ok := p.now().Find("nic-down", "edge-b"); ok {
			t.Errorf("still active: %+v", a)
		}
		cancel()
		<-done
		p.mu.Lock()
		delete(p.engines, "edge-b")
		p.mu.Unlock()
	})
}

// A storm of 10,000 events about 10,000 things, and one that matters at its end: bounded entries, bounded memory, the worst gets in.
func TestEngine_flood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(o *Options) { o.Default = nil })
		e := p.engines["edge-b"]
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 10_000 {
			e.Post(Event{Name: "device-out-of-service", Object: fmt.Sprint("trunk-", i), Evidence: strings.Repeat("x", 5000)})
		}
		e.Post(Event{Name: "no-primary", Object: "pair"})
		settle()
		if _, ok := p.now().Find("no-primary", "pair"); !ok {
			t.Error("what matters waits behind what does not")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p.committed() > supervisor.AlarmsActive+1 || len(p.now().Active) != supervisor.AlarmsActive {
			t.Errorf("%d entries, %d active", p.committed(), len(p.now().Active))
		}
		if l := e.List(); l.Dropped < 9000 {
			t.Errorf("%d dropped", l.Dropped)
		}
		e.mu.Lock()
		if len(e.backlog.order) > backlogLimit || len(e.backlog.waiting) > backlogLimit {
			t.Errorf("%d keys", len(e.backlog.order))
		}
		e.mu.Unlock()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			t.Errorf("the heap grew by %d KiB", grown>>10)
		}
	})
}

// One thing that goes up and down 100 times a second for a minute makes a handful of entries.
func TestEngine_flapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		for i := range 6000 {
			name := "nic-down"
			if i%2 == 1 {
				name = "nic-up"
			}
			p.engines["edge-b"].Post(Event{Name: name})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.committed() > 40 || len(p.now().Active) != 0 {
			t.Errorf("%d entries: %s", p.committed(), p.ops())
		}
		total := 0
		for _, a := range p.now().Cleared {
			total += a.Count
		}
		if total != 3000 {
			t.Errorf("counted %d of 3000", total)
		}
	})
}

// S4-33, S4-35: people and scripts raise, acknowledge and clear, from any node, and hear what became of it.
func TestEngine_orders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		ctx := t.Context()
		b := p.engines["edge-b"]
		if err := b.Raise(ctx, Event{Name: "generator-runs", Object: "site"}); !errors.Is(err, supervisor.ErrAlarmEntry) {
			t.Errorf("without a severity: %v", err)
		}
		if err := b.Raise(ctx, Event{Name: "generator-runs", Object: "site", Severity: minor, Text: "on diesel"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Raise(ctx, Event{Name: "changed-to-primary"}); err == nil {
			t.Error("raised what is not enabled")
		}
		if err := b.Acknowledge(ctx, Target{Condition: "generator-runs", Object: "site"}, "ann", "I know"); err != nil {
			t.Fatal(err)
		}
		if a, _ := p.now().Find("generator-runs", "site"); a.Acked.By != "ann" || a.ID != 1 {
			t.Errorf("%+v", a)
		}
		if err := p.engines["wit-1"].Clear(ctx, Target{ID: 2}, "ann", ""); !errors.Is(err, supervisor.ErrNoAlarm) {
			t.Errorf("cleared what is not there: %v", err)
		}
		if err := p.engines["wit-1"].Clear(ctx, Target{ID: 1}, "ann", "mains are back"); err != nil {
			t.Fatal(err)
		}
		settle()
		if a, _ := p.now().ByID(1); a.ClearedBy != "ann" || a.Clearing != supervisor.AlarmCancelHand || a.ClearNote != "mains are back" {
			t.Errorf("%+v", a)
		}
		p.wantRan("edge-a raised generator-runs site", "edge-a cleared generator-runs site")
	})
}

// An order without a majority: a raise is kept, a clearance is not, and neither keeps what comes after it.
func TestEngine_ordersWithoutMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		b := p.engines["edge-b"]
		if err := b.Raise(t.Context(), Event{Name: "nic-down", Object: "x"}); err != nil {
			t.Fatal(err)
		}
		settle()
		p.cutOff(true, "edge-b")
		soon := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		if err := b.Clear(soon(), Target{ID: 1}, "ann", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("clear: %v", err)
		}
		if err := b.Raise(soon(), Event{Name: "nic-down", Object: "y"}); !errors.Is(err, ErrPending) {
			t.Errorf("raise: %v", err)
		}
		if err := b.Raise(soon(), Event{Name: "nic-down", Object: "z"}); !errors.Is(err, ErrPending) {
			t.Errorf("raise: %v", err)
		}
		if err := b.Clear(soon(), Target{Condition: "nic-down", Object: "z"}, "ann", ""); !errors.Is(err, ErrPending) {
			t.Errorf("clear of what is pending: %v", err)
		}
		p.cutOff(false, "edge-b")
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.now().Active) != 2 || len(p.now().Cleared) != 1 || p.now().Cleared[0].Object != "z" {
			t.Errorf("%+v\nlog: %s", p.now(), p.ops())
		}
	})
}

// A host whose clock was set back goes on where its former run ended.
func TestEngine_clockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.mu.Lock()
		p.table.Sources = []supervisor.AlarmSource{{Node: "edge-b", Run: 1 << 62, Seq: 9, At: time.Now()}}
		p.mu.Unlock()
		p.engines["edge-b"].Post(Event{Name: "nic-down"}) // its table is older than that
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := p.now().Find("nic-down", "edge-b"); !ok {
			t.Errorf("lost; %d proposals", p.proposals())
		}
	})
}

// Events, tables, orders and questions come from everywhere at once.
func TestEngine_concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		var wg sync.WaitGroup
		for i := range 8 {
			e := p.engines[[]supervisor.NodeID{"edge-a", "edge-b", "wit-1"}[i%3]]
			wg.Go(func() {
				for j := range 60 {
					object := fmt.Sprint("eth", (i+j)%4)
					e.Post(Event{Name: "nic-down", Object: object})
					_ = e.List()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					switch j % 3 {
					case 0:
						_ = e.Raise(ctx, Event{Name: "vip-missing", Object: object})
					case 1:
						_ = e.Clear(ctx, Target{Condition: "vip-missing", Object: object}, "ann", "")
					default:
						_ = e.Acknowledge(ctx, Target{Condition: "nic-down", Object: object}, "ann", "")
					}
					cancel()
					e.Post(Event{Name: "nic-up", Object: object})
					p.move([]supervisor.NodeID{"edge-a", "edge-b", ""}[j%3])
				}
			})
		}
		wg.Wait()
		for i := range 4 {
			p.engines["edge-a"].Post(Event{Name: "nic-up", Object: fmt.Sprint("eth", i)})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range 4 {
			if a, ok := p.now().Find("nic-down", fmt.Sprint("eth", i)); ok {
				t.Errorf("still active: %+v", a)
			}
		}
		for id, e := range p.engines {
			e.mu.Lock()
			if e.flight != nil || e.backlog.count() != 0 || len(e.orders) != 0 || len(e.duties.known) > supervisor.AlarmsActive+supervisor.AlarmsCleared {
				t.Errorf("%s is not done: %+v, %d wait, %d orders", id, e.flight, e.backlog.count(), len(e.orders))
			}
			e.mu.Unlock()
		}
	})
}
