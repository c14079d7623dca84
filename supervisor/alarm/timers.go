package alarm

import (
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// timers are the cancel timers of the active alarms, by number. Each runs from when this node first saw the alarm, on the monotonic
// clock, so that a wall clock that is set moves none; an alarm that is older is believed to be.
type timers map[uint64]time.Time

// stagger is by how much each node is more patient than the one before it: the first one ends the alarm, the others do if it does not.
const stagger = 10 * time.Second

// look takes notice of the table.
func (t timers) look(table *supervisor.Alarms, now time.Time, rank int) {
	for id := range t {
		if !slices.ContainsFunc(table.Active, func(a supervisor.Alarm) bool { return a.ID == id }) {
			delete(t, id)
		}
	}
	for _, a := range table.Active {
		if _, ok := t[a.ID]; ok || a.ClearAfter <= 0 {
			continue
		}
		age := min(max(0, now.Sub(a.First)), a.ClearAfter)
		t[a.ID] = now.Add(a.ClearAfter - age + time.Duration(rank)*stagger)
	}
}

// next is when the first one ends; zero if none runs.
func (t timers) next() (at time.Time) {
	for _, end := range t {
		at = earliest(at, end)
	}
	return at
}

// due gives the end of an alarm whose timer has run out. Should it come to nothing, there is another try later.
func (t timers) due(table *supervisor.Alarms, self supervisor.NodeID, now time.Time) (supervisor.AlarmEntry, bool) {
	for _, a := range table.Active {
		if end, ok := t[a.ID]; ok && !end.After(now) {
			t[a.ID] = now.Add(stagger)
			return supervisor.AlarmEntry{
				Op: supervisor.AlarmCancelTime, ID: a.ID, Condition: a.Condition, Object: a.Object, Node: self, At: now,
			}, true
		}
	}
	return supervisor.AlarmEntry{}, false
}

// rank is this node's turn in ending alarms by time: the primary's is first; then the lowest.
func (e *Engine) rank() int {
	nodes := slices.Clone(e.o.Nodes)
	slices.Sort(nodes)
	if i := slices.Index(nodes, e.role.Primary); i >= 0 {
		nodes = slices.Insert(slices.Delete(nodes, i, i+1), 0, e.role.Primary)
	}
	return max(0, slices.Index(nodes, e.o.Self))
}
