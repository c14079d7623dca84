package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Trigger names what caused a switchover, in history and metrics.
type Trigger string

// The triggers. Those for which Judged is true rest on somebody's judgement of a primary that may still be serving: the budget limits
// them. The others found the old primary's service gone for certain.
const (
	TriggerFirst    Trigger = "first-primary"  // there never was one
	TriggerSilent   Trigger = "primary-silent" // the lease ended and a majority had closed the epoch
	TriggerReleased Trigger = "released"       // the primary gave the role up and nobody had it
	TriggerServer   Trigger = "sip-server"     // the primary's SIP server died or hangs
	TriggerNIC      Trigger = "nic"            // the primary's interface failed
	TriggerAddress  Trigger = "vip"            // the primary can't put the address up
	TriggerPath     Trigger = "sip-path"       // nobody else reaches the primary's SIP server
	TriggerLeave    Trigger = "leave"          // the primary's sidecar was stopped by its operator
	TriggerOperator Trigger = "operator"       // somebody asked
	TriggerSilence  Trigger = "sip-silence"    // no SIP message reached the primary, and all devices it checks are out of service
	TriggerListener Trigger = "sip-listener"   // nothing listens where the primary's SIP server should
)

// triggers numbers those that a RELEASE can carry in its Seq. The order is the wire format: it only grows.
var triggers = [...]Trigger{TriggerReleased, TriggerServer, TriggerNIC, TriggerAddress, TriggerLeave, TriggerSilence, TriggerListener}

func (t Trigger) number() uint64 { return uint64(max(0, slices.Index(triggers[:], t))) }

func triggerOf(n uint64) Trigger {
	if n < uint64(len(triggers)) {
		return triggers[n]
	}
	return TriggerReleased
}

// Judged reports whether the budget applies. An address that can't go up is certain where it is, but may fail at the other member too,
// which nobody knows before it tries: only the budget keeps the role from going to and fro.
func (t Trigger) Judged() bool { return t == TriggerPath || t == TriggerAddress }

// Automatic reports whether a pause holds it back. A pause holds the role where it is: it never keeps a primary from being chosen again.
func (t Trigger) Automatic() bool {
	return t != TriggerOperator && t != TriggerLeave && t != TriggerFirst
}

// Switchover is one line of the history.
type Switchover struct {
	Epoch   Epoch     `json:"epoch"`
	At      time.Time `json:"at"`
	From    NodeID    `json:"from"`
	To      NodeID    `json:"to"`
	Trigger Trigger   `json:"trigger"`
	Reason  string    `json:"reason"`
	By      string    `json:"by"` // node or operator that asked
}

// Pause suspends automatic switchovers until a moment.
type Pause struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
}

// Record is the replicated role record: what must never be lost and changes rarely. It is the state of the Raft state machine.
type Record struct {
	Epoch   Epoch        `json:"epoch"`
	Primary NodeID       `json:"primary"`
	Since   time.Time    `json:"since"`
	Paused  Pause        `json:"paused"`
	History []Switchover `json:"history"` // oldest first, at most HistoryLimit

	Doubling map[Trigger]Doubling `json:"doubling,omitempty"` // the double-switchover rule; never changed in place
	Alarms   Alarms               `json:"alarms,omitzero"`
}

// HistoryLimit bounds the history kept in the record.
const HistoryLimit = 200

// Entry is one committed change of the record. Exactly one of its parts is set.
type Entry struct {
	Role   *RoleEntry  `json:"role,omitempty"`
	Pause  *PauseEntry `json:"pause,omitempty"`
	Resume bool        `json:"resume,omitempty"`

	Settled *SettledEntry `json:"settled,omitempty"`
	Alarm   *AlarmEntry   `json:"alarm,omitempty"`
}

// RoleEntry makes To primary of Epoch. It applies only on top of Epoch-1, so repeating it is harmless.
type RoleEntry struct {
	Epoch   Epoch     `json:"epoch"`
	To      NodeID    `json:"to"`
	At      time.Time `json:"at"`
	Trigger Trigger   `json:"trigger"`
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
	Budget  Budget    `json:"budget"` // the proposer's; equal on all nodes with equal configurations

	Period time.Duration `json:"period,omitempty"` // of the double-switchover rule, for triggers that have one
}

// SettledEntry says that the primary of an epoch found the condition of a trigger gone: its double-switchover rule starts over.
type SettledEntry struct {
	Epoch   Epoch   `json:"epoch"`
	Trigger Trigger `json:"trigger"`
}

// PauseEntry suspends automatic switchovers.
type PauseEntry struct {
	At    time.Time `json:"at"`
	Pause Pause     `json:"pause"`
}

// Budget is how many judged switchovers may happen in a period.
type Budget struct {
	Count int           `json:"count"`
	Per   time.Duration `json:"per"`
}

// Why an entry did not apply.
var (
	ErrStaleEpoch = errors.New("the role has changed meanwhile")
	ErrPaused     = errors.New("automatic switchovers are paused")
	ErrBudget     = errors.New("the switchover budget is spent")
	ErrNoChange   = errors.New("that node is primary already")
)

// Apply gives the record after e, or the reason why e does not apply. It is deterministic and leaves r untouched.
func (r Record) Apply(e Entry) (Record, error) {
	switch {
	case e.Role != nil:
		return r.applyRole(*e.Role)
	case e.Pause != nil:
		r.Paused = e.Pause.Pause
		return r, nil
	case e.Alarm != nil:
		alarms, err := r.Alarms.Apply(*e.Alarm)
		if err != nil {
			return r, err
		}
		r.Alarms = alarms
		return r, nil
	case e.Settled != nil:
		if e.Settled.Epoch != r.Epoch {
			return r, fmt.Errorf("%w: settled in epoch %d, now it is %d", ErrStaleEpoch, e.Settled.Epoch, r.Epoch)
		}
		r.Doubling = r.settled(e.Settled.Trigger)
		return r, nil
	case e.Resume:
		r.Paused = Pause{}
		return r, nil
	}
	return r, errors.New("empty entry")
}

func (r Record) applyRole(e RoleEntry) (Record, error) {
	if e.Epoch != r.Epoch+1 {
		return r, fmt.Errorf("%w: epoch %d on top of %d", ErrStaleEpoch, e.Epoch, r.Epoch)
	}
	at := e.At
	if at.Before(r.Since) { // the proposer's wall clock lags or was set back: history stays in order
		at = r.Since
	}
	if e.Trigger.Automatic() && e.To != r.Primary && r.PausedAt(at) {
		return r, fmt.Errorf("%w until %s (%s)", ErrPaused, r.Paused.Until.Format(time.RFC3339), r.Paused.Reason)
	}
	if e.Trigger.Judged() && r.BudgetLeft(e.Budget, at) == 0 {
		return r, fmt.Errorf("%w: %d in %v", ErrBudget, e.Budget.Count, e.Budget.Per)
	}
	line := Switchover{Epoch: e.Epoch, At: at, From: r.Primary, To: e.To, Trigger: e.Trigger, Reason: e.Reason, By: e.By}
	history := r.History
	if len(history) >= HistoryLimit {
		history = history[len(history)-HistoryLimit+1:]
	}
	r.History = append(append(make([]Switchover, 0, len(history)+1), history...), line)
	if e.To != r.Primary {
		r.Doubling = r.turnOver(e.Trigger, r.Primary, e.To, e.Period)
	}
	r.Epoch, r.Primary, r.Since = e.Epoch, e.To, at
	return r, nil
}

// PausedAt reports whether automatic switchovers are suspended at a moment of the wall clock.
func (r Record) PausedAt(at time.Time) bool { return at.Before(r.Paused.Until) }

// BudgetLeft is how many judged switchovers the record still allows at a moment. Every automatic switchover counts, the judged are
// limited: a takeover from a dead host is never refused, but uses the budget up. A primary that is chosen again has not switched.
func (r Record) BudgetLeft(b Budget, at time.Time) int {
	left := b.Count
	for i := len(r.History) - 1; i >= 0 && left > 0; i-- {
		h := r.History[i]
		if at.Sub(h.At) >= b.Per {
			break
		}
		if h.Trigger.Automatic() && h.From != h.To {
			left--
		}
	}
	return left
}

// isPolicy reports whether an entry was turned down by the pair's own rules rather than by bad luck.
func isPolicy(err error) bool { return errors.Is(err, ErrPaused) || errors.Is(err, ErrBudget) }
