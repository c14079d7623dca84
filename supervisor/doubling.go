package supervisor

import (
	"maps"
	"time"
)

// Doubling is the double-switchover rule for one trigger, kept in the record so that neither a restart nor a change of the Raft leader
// forgets it. A member that loses the role for that trigger, and gets it back without ever having found the condition gone, has been
// there and back for nothing: it waits twice as long the next time, up to DoublingLimit times. With nothing to be seen by either member,
// and period P, the role moves at P, 2P, 4P, 6P, 10P, 14P, 18P, ...
type Doubling struct {
	Period  time.Duration   `json:"period"` // to which the factors belong; another one starts over
	Members map[NodeID]Turn `json:"members"`
}

// Turn is one member's part.
type Turn struct {
	Factor  int  `json:"factor"`  // of the period, while it is primary
	Demoted bool `json:"demoted"` // it lost the role for this trigger and has not found the condition gone since
}

// DoublingLimit bounds the factor.
const DoublingLimit = 4

// doubles tells which triggers the rule is for.
func (t Trigger) doubles() bool { return t == TriggerSilence || t == TriggerListener }

// Factor is by how many periods member has to wait before it gives the role up for t.
func (r Record) Factor(t Trigger, member NodeID, period time.Duration) int {
	d := r.Doubling[t]
	if d.Period != period {
		return 1
	}
	return max(1, d.Members[member].Factor)
}

// turnOver gives the rules after the role went from one member to another.
func (r Record) turnOver(t Trigger, from, to NodeID, period time.Duration) map[Trigger]Doubling {
	if !t.doubles() {
		return nil // a switchover for any other reason starts all over
	}
	d := r.Doubling[t]
	if d.Period != period {
		d = Doubling{}
	}
	turns := maps.Clone(d.Members)
	if turns == nil {
		turns = map[NodeID]Turn{}
	}
	last, next := turns[from], turns[to]
	last.Demoted = true
	if next.Demoted {
		next.Factor = min(2*max(1, next.Factor), DoublingLimit)
	} else {
		next.Factor = 1
	}
	turns[from], turns[to] = last, next
	return map[Trigger]Doubling{t: {Period: period, Members: turns}}
}

// settled gives the rules after the primary has found the condition of t gone.
func (r Record) settled(t Trigger) map[Trigger]Doubling {
	if _, ok := r.Doubling[t]; !ok {
		return r.Doubling
	}
	rest := maps.Clone(r.Doubling)
	delete(rest, t)
	if len(rest) == 0 {
		return nil
	}
	return rest
}
