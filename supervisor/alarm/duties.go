package alarm

import (
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// duties remembers, per alarm and phase, which reactions this node has started, so that none starts twice.
type duties struct {
	known map[uint64]*duty
	told  []telling // reactions that have run: to be committed, so that no later primary runs them again
	based bool      // the first table was seen; what was in it is old news
}

// duty is what was done for one alarm. Indexed by phase.
type duty struct {
	local   [2]bool // reactions on every and on the raising node
	primary [2]bool // those of the primary
	open    [2]int  // of those, how many have not been tried yet
}

type telling struct {
	id    uint64
	phase phase
}

func newDuties() duties { return duties{known: map[uint64]*duty{}} }

// react gives the calls that tell the outlets what they shall tell.
func (e *Engine) react(now time.Time) (tasks []func()) {
	if e.changed {
		e.timers.look(&e.table, now, e.rank())
		tasks = e.reactTable(now)
	}
	ahead := e.stuck(now)
	if ahead {
		tasks = append(tasks, e.reactAhead()...)
	}
	if e.changed || ahead {
		tasks = append(tasks, e.pushStates(ahead)...)
	}
	e.changed = false
	return tasks
}

// oldNews is how long after the end of an alarm nobody needs to hear of it any more.
const oldNews = 10 * time.Minute

// reactTable compares the table with what this node has done.
func (e *Engine) reactTable(now time.Time) (tasks []func()) {
	d := &e.duties
	fresh := !d.based || !e.role.Synced
	d.based = true
	present := map[uint64]bool{}
	visit := func(a supervisor.Alarm) {
		present[a.ID] = true
		k := d.known[a.ID]
		if k == nil {
			k = &duty{}
			k.local[begins] = a.Told == e.o.Self // told before it had a number: this node was ahead of the majority
			d.known[a.ID] = k
		}
		k.local[begins] = k.local[begins] || fresh
		k.local[ends] = k.local[ends] || !a.Active() && (fresh || a.ToldClear == e.o.Self)
		if !e.role.Synced {
			return
		}
		if !a.Active() && now.Sub(a.ClearedAt) > oldNews {
			return
		}
		tasks = append(tasks, e.perform(k, begins, a)...)
		if !a.Active() {
			tasks = append(tasks, e.perform(k, ends, a)...)
		}
	}
	for _, a := range e.table.Cleared {
		visit(a)
	}
	for _, a := range e.table.Active {
		visit(a)
	}
	for id := range d.known {
		if !present[id] {
			delete(d.known, id)
		}
	}
	return tasks
}

// perform starts the reactions of one phase that are this node's.
func (e *Engine) perform(k *duty, p phase, a supervisor.Alarm) (tasks []func()) {
	told := a.Told
	if p == ends {
		told = a.ToldClear
	}
	mine, n := told == "" && !k.primary[p], notice(&e.o, p, a, false)
	for _, name := range e.o.reactions(a.Condition, p) {
		out, where := e.outlets[name], e.where[name]
		if _, ok := out.(*push); ok || !e.isHere(where, a) {
			continue
		}
		switch {
		case where == OnPrimary && mine:
			k.primary[p] = true
			k.open[p]++
			tasks = append(tasks, func() { out.tell(n, func() { e.finished(a.ID, p) }) })
		case where != OnPrimary && !k.local[p]:
			tasks = append(tasks, func() { out.tell(n, func() {}) })
		}
	}
	k.local[p] = true
	return tasks
}

// finished hears that one of the primary's reactions was tried.
func (e *Engine) finished(id uint64, p phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.duties.known[id]
	if k == nil {
		return
	}
	if k.open[p]--; k.open[p] == 0 {
		e.duties.told = append(e.duties.told, telling{id: id, phase: p})
		e.call()
	}
}

// next gives an entry that says that reactions have run.
func (d *duties) next(table *supervisor.Alarms, self supervisor.NodeID, now time.Time) (supervisor.AlarmEntry, bool) {
	for len(d.told) > 0 {
		t := d.told[0]
		d.told = d.told[1:]
		a, ok := table.ByID(t.id)
		x := supervisor.AlarmEntry{Op: supervisor.AlarmTold, ID: t.id, Condition: a.Condition, Object: a.Object, Node: self, At: now}
		if t.phase == ends {
			x.Op = supervisor.AlarmToldClear
		}
		if ok && (t.phase == begins && a.Told == "" || t.phase == ends && a.ToldClear == "") {
			return x, true
		}
	}
	return supervisor.AlarmEntry{}, false
}

// reactAhead reacts to what can't be committed as if it were, on this node alone. The entries say so when they are.
func (e *Engine) reactAhead() (tasks []func()) {
	e.project(func(x *supervisor.AlarmEntry, a supervisor.Alarm) {
		if x.Told {
			return
		}
		x.Told = true
		p := begins
		if x.Op.Ends() {
			p = ends
		}
		n := notice(&e.o, p, a, true)
		for _, name := range e.o.reactions(a.Condition, p) { // all of them, wherever they should run
			out := e.outlets[name]
			tasks = append(tasks, func() { out.tell(n, func() {}) })
		}
	})
	return tasks
}

// project gives the alarms that will be raised by what this node has seen and not committed, without a number, in the order of their
// detection. change hears of each entry that raises or ends an alarm, and of the alarm.
func (e *Engine) project(change func(*supervisor.AlarmEntry, supervisor.Alarm)) []supervisor.Alarm {
	active := make(map[key]supervisor.Alarm, len(e.table.Active))
	for _, a := range e.table.Active {
		active[key{a.Condition, a.Object}] = a
	}
	var order []key
	visit := func(k key, x *supervisor.AlarmEntry) {
		a, is := active[k]
		switch {
		case x.Op == supervisor.AlarmDetect && !is && x.ID == 0:
			a = supervisor.Alarm{
				Condition: x.Condition, Object: x.Object, EventID: x.EventID, Severity: x.Severity, Text: x.Text, Evidence: x.Evidence,
				Node: e.o.Self, First: x.First, Last: x.At, Count: x.Count, ClearAfter: x.ClearAfter,
			}
			active[k] = a
			order = append(order, k)
			change(x, a)
		case x.Op == supervisor.AlarmDetect && is:
			a.Count, a.Last, a.Text, a.Evidence = a.Count+x.Count, x.At, x.Text, x.Evidence
			active[k] = a
		case x.Op.Ends() && is:
			delete(active, k)
			a.ClearedAt, a.ClearedBy, a.Clearing, a.ClearNote = x.At, x.By, x.Op, x.Note
			change(x, a)
		}
	}
	if f := e.flight; f != nil && !f.done {
		visit(keyOf(f.entry), &f.entry)
	}
	e.backlog.each(visit)
	var list []supervisor.Alarm
	for _, k := range order {
		if a, ok := active[k]; ok && a.ID == 0 {
			list = append(list, a)
			delete(active, k)
		}
	}
	return list
}

// pending is what project gives, without changing anything.
func (e *Engine) pending() []supervisor.Alarm {
	return e.project(func(*supervisor.AlarmEntry, supervisor.Alarm) {})
}

// pushStates tells outlets that want states which alarms there are.
func (e *Engine) pushStates(ahead bool) (tasks []func()) {
	if !e.role.Synced && !ahead {
		return nil
	}
	var pending []supervisor.Alarm
	if ahead {
		pending = e.pending()
	}
	cleared := e.table.Cleared
	for name, out := range e.outlets {
		if _, ok := out.(*push); !ok {
			continue
		}
		var active []supervisor.Alarm
		for _, a := range e.table.Active {
			if wants(&e.o, name, a) && (ahead || e.isHere(e.where[name], a)) {
				active = append(active, a)
			}
		}
		for _, a := range pending {
			if wants(&e.o, name, a) {
				active = append(active, a)
			}
		}
		tasks = append(tasks, func() { out.states(active, cleared) })
	}
	return tasks
}

// isHere reports whether reactions to an alarm that run at a place run on this node.
func (e *Engine) isHere(w Where, a supervisor.Alarm) bool {
	switch w {
	case OnEvery:
		return true
	case OnRaising:
		return a.Node == e.o.Self
	default:
		return e.role.Primary == e.o.Self || e.role.Primary == "" && a.Node == e.o.Self
	}
}

// wants reports whether a reaction is to be told of an alarm.
func wants(o *Options, name string, a supervisor.Alarm) bool {
	return slices.Contains(o.reactions(a.Condition, begins), name)
}
