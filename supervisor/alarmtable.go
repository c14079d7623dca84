package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Why an entry did not apply.
var (
	ErrNoAlarm       = errors.New("no such alarm")
	ErrAlarmsFull    = errors.New("the alarm table is full")
	ErrAlarmRepeated = errors.New("that alarm entry was applied before")
	ErrAlarmEntry    = errors.New("malformed alarm entry")
)

// Alarms is the alarm table of the whole pair. It is part of the role record, so that every node shows the same.
type Alarms struct {
	Active  []Alarm       `json:"active,omitempty"`  // in the order in which they were raised, at most AlarmsActive
	Cleared []Alarm       `json:"cleared,omitempty"` // in the order in which they ended, the newest AlarmsCleared
	LastID  uint64        `json:"last_id,omitempty"`
	Sources []AlarmSource `json:"sources,omitempty"` // by node; the sessions that make entries safe to repeat
}

// AlarmSource is the newest entry of a node: what it numbered lower was applied before.
type AlarmSource struct {
	Node NodeID    `json:"node"`
	Run  uint64    `json:"run"`
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`
}

// Find gives the active alarm of a condition on an object.
func (t Alarms) Find(condition, object string) (Alarm, bool) {
	i := slices.IndexFunc(t.Active, func(a Alarm) bool { return a.Condition == condition && a.Object == object })
	if i < 0 {
		return Alarm{}, false
	}
	return t.Active[i], true
}

// ByID gives the alarm with a number, active or cleared.
func (t Alarms) ByID(id uint64) (Alarm, bool) {
	for _, list := range [...][]Alarm{t.Active, t.Cleared} {
		if i := slices.IndexFunc(list, func(a Alarm) bool { return a.ID == id }); i >= 0 {
			return list[i], true
		}
	}
	return Alarm{}, false
}

// Source gives what was applied last of a node's entries.
func (t Alarms) Source(node NodeID) AlarmSource {
	for _, s := range t.Sources {
		if s.Node == node {
			return s
		}
	}
	return AlarmSource{Node: node}
}

// Worst is the severity of the worst active alarm; cleared if there is none.
func (t Alarms) Worst() Severity {
	worst := SeverityCleared
	for _, a := range t.Active {
		if a.Severity.Rank() > worst.Rank() {
			worst = a.Severity
		}
	}
	return worst
}

// Apply gives the table after e, or the reason why e does not apply. It is deterministic and leaves t and its slices untouched.
//
// Per condition and object: cleared, detect, active (reactions run once, the cancel timer starts); active, detect, active (counted,
// no second reaction, the timer is not started again); active, cancel event or timeout or hand, cleared.
func (t Alarms) Apply(e AlarmEntry) (Alarms, error) {
	e = e.Normal()
	if err := e.check(); err != nil {
		return t, err
	}
	last := t.Source(e.Node)
	if e.Run != 0 && (e.Run < last.Run || e.Run == last.Run && e.Seq <= last.Seq) {
		return t, fmt.Errorf("%w: %d of run %d by %s", ErrAlarmRepeated, e.Seq, e.Run, e.Node)
	}
	next, err := t.change(e)
	if err != nil {
		return t, err
	}
	if e.Run != 0 {
		next.Sources = noteSource(t.Sources, AlarmSource{Node: e.Node, Run: e.Run, Seq: e.Seq, At: e.At})
	}
	return next, nil
}

func (t Alarms) change(e AlarmEntry) (Alarms, error) {
	if e.Op == AlarmTold || e.Op == AlarmToldClear {
		return t.tell(e)
	}
	i := slices.IndexFunc(t.Active, func(a Alarm) bool {
		return e.ID != 0 && a.ID == e.ID || e.ID == 0 && a.Condition == e.Condition && a.Object == e.Object
	})
	switch {
	case e.Op == AlarmDetect && i < 0 && e.ID == 0:
		return t.raise(e)
	case i < 0 && e.ID != 0:
		return t, fmt.Errorf("%w: number %d is not active", ErrNoAlarm, e.ID)
	case i < 0:
		return t, fmt.Errorf("%w: %s on %q is not active", ErrNoAlarm, e.Condition, e.Object)
	case e.Op.Ends():
		return t.end(i, e), nil
	}
	a := t.Active[i]
	if e.Op == AlarmDetect {
		a = a.again(e)
	} else { // check knows no other op than AlarmAcknowledge
		a.Acked = AlarmAck{At: e.At, By: e.By, Note: e.Note}
	}
	t.Active = slices.Clone(t.Active)
	t.Active[i] = a
	return t, nil
}

func (t Alarms) raise(e AlarmEntry) (Alarms, error) {
	if len(t.Active) >= AlarmsActive {
		least := 0 // the longest quiet of the least severe
		for i, a := range t.Active {
			b := t.Active[least]
			if r := a.Severity.Rank() - b.Severity.Rank(); r < 0 || r == 0 && a.Last.Before(b.Last) {
				least = i
			}
		}
		if t.Active[least].Severity.Rank() >= e.Severity.Rank() {
			return t, fmt.Errorf("%w: %d active alarms, none less severe than %s", ErrAlarmsFull, AlarmsActive, e.Severity)
		}
		t = t.end(least, AlarmEntry{Op: AlarmDisplaced, At: e.At, By: string(e.Node), Note: e.Condition})
	}
	t.LastID++
	a := Alarm{
		ID: t.LastID, Condition: e.Condition, Object: e.Object, Node: e.Node,
		First: e.First, Last: e.First, ClearAfter: e.ClearAfter,
	}
	if e.Told {
		a.Told = e.Node
	}
	t.Active = append(slices.Clip(t.Active), a.again(e))
	return t, nil
}

// again counts what an entry stands for.
func (a Alarm) again(e AlarmEntry) Alarm {
	a.Count = min(a.Count+e.Count, alarmCountLimit)
	a.Severity, a.EventID, a.Text, a.Evidence = e.Severity, e.EventID, e.Text, e.Evidence
	a.Last = later(a.Last, e.At)
	return a
}

func (t Alarms) end(i int, e AlarmEntry) Alarms {
	a := t.Active[i]
	a.ClearedAt, a.ClearedBy, a.Clearing, a.ClearNote = later(a.First, e.At), e.By, e.Op, e.Note
	if e.Told {
		a.ToldClear = e.Node
	}
	t.Active = slices.Delete(slices.Clone(t.Active), i, i+1)
	kept := t.Cleared
	if len(kept) >= AlarmsCleared {
		kept = kept[len(kept)-AlarmsCleared+1:]
	}
	t.Cleared = append(slices.Clip(kept), a)
	return t
}

func (t Alarms) tell(e AlarmEntry) (Alarms, error) {
	is := func(a Alarm) bool { return a.ID == e.ID }
	i, j := slices.IndexFunc(t.Active, is), slices.IndexFunc(t.Cleared, is)
	switch {
	case i >= 0 && e.Op == AlarmTold:
		t.Active = slices.Clone(t.Active)
		t.Active[i].Told = e.Node
	case j >= 0:
		t.Cleared = slices.Clone(t.Cleared)
		if e.Op == AlarmTold {
			t.Cleared[j].Told = e.Node
		} else {
			t.Cleared[j].ToldClear = e.Node
		}
	default:
		return t, fmt.Errorf("%w: nothing to tell of number %d", ErrNoAlarm, e.ID)
	}
	return t, nil
}

func noteSource(sources []AlarmSource, s AlarmSource) []AlarmSource {
	next := slices.DeleteFunc(slices.Clone(sources), func(o AlarmSource) bool { return o.Node == s.Node })
	if len(next) >= alarmSources { // nodes come and go; the one that was silent longest is gone
		oldest := 0
		for i, o := range next {
			if o.At.Before(next[oldest].At) {
				oldest = i
			}
		}
		next = slices.Delete(next, oldest, oldest+1)
	}
	next = append(next, s)
	slices.SortFunc(next, func(a, b AlarmSource) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return next
}

func later(a, b time.Time) time.Time {
	if b.Before(a) {
		return a
	}
	return b
}
