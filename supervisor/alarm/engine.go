package alarm

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Role is what an Engine must know of the pair besides the table.
type Role struct {
	Primary supervisor.NodeID // empty also while the node that the record names is silent here: then whoever raised an alarm reacts
	Synced  bool              // the table has everything that was committed before this process started
}

// Engine turns events into entries of the table, and changes of the table into reactions.
type Engine struct {
	o       Options
	outlets map[string]outlet // by reaction
	where   map[string]Where
	wake    chan struct{}

	mu      sync.Mutex // never held while an outlet or the proposer is called
	table   supervisor.Alarms
	role    Role
	changed bool // table or role, since they were looked at
	backlog *backlog
	orders  []*order // of people, before everything else
	flight  *flight  // the one entry that is being proposed
	duties  duties
	timers  timers
	asking  time.Time // since when entries are proposed without an answer; zero: they are not
	run     uint64
	seq     uint64
	warned  time.Time     // when it was last said that events are dropped
	shown   chan struct{} // closed when the table has changed
}

// New checks the options. It starts nothing.
func New(o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Logger = o.Logger.Named("alarm")
	e := &Engine{
		o: o, outlets: map[string]outlet{}, where: map[string]Where{}, wake: make(chan struct{}, 1),
		shown: make(chan struct{}), backlog: newBacklog(), duties: newDuties(), timers: timers{}, run: uint64(max(1, time.Now().UnixNano())),
	}
	for _, r := range o.Reactions {
		e.outlets[r.Name] = r.build(e)
		if e.where[r.Name] = r.Where; r.Where == "" {
			e.where[r.Name] = OnPrimary
		}
	}
	return e, nil
}

// Run works until ctx ends. Reactions that run then are ended.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, out := range e.outlets {
		wg.Go(func() { out.run(ctx) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wake:
		case <-timer.C:
		}
		wait := e.turn(time.Now())
		timer.Reset(wait)
	}
}

// longest is how long the engine sleeps when it has nothing to do.
const longest = time.Hour

// turn does what is to be done now and says for how long there is nothing else.
func (e *Engine) turn(now time.Time) time.Duration {
	e.mu.Lock()
	tasks := e.react(now)
	f, next := e.launch(now)
	if e.flight == nil {
		next = earliest(next, e.timers.next())
	} else if !e.asking.IsZero() && !e.stuck(now) {
		next = earliest(next, e.asking.Add(e.o.Patience))
	}
	e.mu.Unlock()
	for _, task := range tasks {
		task()
	}
	if f != nil {
		e.o.Proposer.Propose(f.entry, func(err error) { e.landed(f, f.tries, err) })
	}
	if next.IsZero() {
		return longest
	}
	return max(0, min(longest, next.Sub(now)))
}

func (e *Engine) call() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Post passes an event on. It never waits.
func (e *Engine) Post(ev Event) {
	now := time.Now()
	ev = ev.normal(e.o.Self, now)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.o.Conditions {
		if !c.Enabled {
			continue
		}
		if c.fires(ev) {
			e.take(now, detection(c, ev))
		}
		if c.ends(ev) {
			e.cancel(now, c, ev)
		}
	}
}

// take puts an entry on the backlog. It reports whether there was room.
func (e *Engine) take(now time.Time, x supervisor.AlarmEntry) bool {
	e.call()
	if e.backlog.add(now, x, e.activeID(keyOf(x))) {
		return true
	}
	if now.Sub(e.warned) > time.Minute {
		e.warned = now
		e.o.Logger.Warn("too many alarms at once, events are dropped", zap.String("why", x.Condition))
	}
	return false
}

// cancel takes an end, if there is anything to end: most cancel events only say again that all is well. As long as the table is not
// complete, there may be: whatever ended while this node was down is only said once.
func (e *Engine) cancel(now time.Time, c Condition, ev Event) {
	x := supervisor.AlarmEntry{
		Op: supervisor.AlarmCancelEvent, Condition: c.Name, Object: ev.Object, Node: e.o.Self, At: ev.At, Note: ev.Text,
	}.Normal()
	w := e.backlog.waiting[keyOf(x)]
	if !e.role.Synced || e.isActiveKey(keyOf(x)) || w != nil && len(w.steps) > 0 {
		e.take(now, x)
	}
}

func detection(c Condition, ev Event) supervisor.AlarmEntry {
	x := supervisor.AlarmEntry{
		Op: supervisor.AlarmDetect, Condition: c.Name, Object: ev.Object, At: ev.At, Severity: ev.Severity,
		EventID: ev.ID, Text: ev.Text, Evidence: ev.Evidence, ClearAfter: c.CancelAfter,
	}
	if ev.CancelAfter > 0 {
		x.ClearAfter = min(ev.CancelAfter, maxCancel)
	}
	if x.Severity.Rank() <= 0 {
		x.Severity = c.Severity
	}
	if x.Text == "" {
		x.Text = c.Text
	}
	return x.Normal()
}

// isActiveKey tells whether the table has an active alarm, or will have when the entry in flight has landed.
func (e *Engine) isActiveKey(k key) bool {
	if f := e.flight; f != nil && keyOf(f.entry) == k {
		switch {
		case f.entry.Op == supervisor.AlarmDetect:
			return true
		case f.entry.Op.Ends():
			return false
		}
	}
	_, ok := e.table.Find(k.condition, k.object)
	return ok
}

// isActive tells whether the alarm of a notice has not ended.
func (e *Engine) isActive(n Notice) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.table.Find(n.Alarm.Condition, n.Alarm.Object); ok {
		return n.Alarm.ID == 0 || n.Alarm.ID == a.ID
	}
	return n.Pending && e.isPending(key{n.Alarm.Condition, n.Alarm.Object})
}

func (e *Engine) isPending(k key) bool {
	for _, a := range e.pending() {
		if (key{a.Condition, a.Object}) == k {
			return true
		}
	}
	return false
}

// Applied says what the table and the roles are now. It never waits.
func (e *Engine) Applied(table supervisor.Alarms, role Role) {
	e.mu.Lock()
	e.table, e.role, e.changed = table, role, true
	e.backlog.synced = role.Synced
	close(e.shown)
	e.shown = make(chan struct{})
	e.mu.Unlock()
	e.call()
}

// List is what people are shown.
type List struct {
	Active  []supervisor.Alarm // oldest first
	Pending []supervisor.Alarm // seen by this node only, as no majority could be asked yet; without a number
	Cleared []supervisor.Alarm // in the order in which they ended
	Dropped uint64             // events that were too many
}

// List gives the table and what this node has not committed yet.
func (e *Engine) List() List {
	e.mu.Lock()
	defer e.mu.Unlock()
	return List{Active: e.table.Active, Cleared: e.table.Cleared, Pending: e.pending(), Dropped: e.backlog.dropped}
}
