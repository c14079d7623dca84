package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity is how bad an alarm is, in the words of ITU-T X.733 (perceived severity).
type Severity string

// The severities.
const (
	SeverityCritical      Severity = "critical"
	SeverityMajor         Severity = "major"
	SeverityMinor         Severity = "minor"
	SeverityWarning       Severity = "warning"
	SeverityIndeterminate Severity = "indeterminate"
	SeverityCleared       Severity = "cleared" // what an alarm that has ended is shown as; none is raised with it
)

var severities = [...]Severity{SeverityCleared, SeverityIndeterminate, SeverityWarning, SeverityMinor, SeverityMajor, SeverityCritical}

// Rank orders severities: 0 is cleared, 5 critical, -1 no severity at all.
func (s Severity) Rank() int { return slices.Index(severities[:], s) }

// AlarmOp says what an AlarmEntry does.
type AlarmOp string

// What can happen to an alarm, and by what one ends.
const (
	AlarmDetect      AlarmOp = "detect"      // raises it, or counts one more detection while it is active
	AlarmCancelEvent AlarmOp = "cancel"      // ends it: its cancel event came
	AlarmCancelTime  AlarmOp = "timeout"     // ends it: its cancel timer ran out
	AlarmCancelHand  AlarmOp = "hand"        // ends it: somebody said so
	AlarmAcknowledge AlarmOp = "acknowledge" // somebody takes care of it; it stays active
	AlarmTold        AlarmOp = "told"        // its reactions have run
	AlarmToldClear   AlarmOp = "told-clear"  // its clearance reactions have run
	AlarmDisplaced   AlarmOp = "displaced"   // only in Alarm.Clearing: the table was full and something worse came
)

// Ends reports whether it clears an alarm.
func (o AlarmOp) Ends() bool {
	return o == AlarmCancelEvent || o == AlarmCancelTime || o == AlarmCancelHand
}

// Alarm is one stay of a condition on an object, from its detection to its end.
type Alarm struct {
	ID         uint64        `json:"id"`        // its number, never used again
	Condition  string        `json:"condition"` // "sip-traffic-silent"
	Object     string        `json:"object"`    // the node, device or address that it is about
	EventID    string        `json:"event_id,omitempty"`
	Severity   Severity      `json:"severity"` // of the newest detection, also after the end
	Text       string        `json:"text"`
	Evidence   string        `json:"evidence,omitempty"`
	Node       NodeID        `json:"node"` // who raised it
	First      time.Time     `json:"first"`
	Last       time.Time     `json:"last"`  // newest detection
	Count      int           `json:"count"` // detections
	ClearAfter time.Duration `json:"clear_after,omitempty"`
	Acked      AlarmAck      `json:"acked,omitzero"`
	Told       NodeID        `json:"told,omitempty"`       // who has run the reactions
	ToldClear  NodeID        `json:"told_clear,omitempty"` // who has run the clearance reactions
	ClearedAt  time.Time     `json:"cleared_at,omitzero"`  // zero: it is active
	ClearedBy  string        `json:"cleared_by,omitempty"` // node or operator
	Clearing   AlarmOp       `json:"clearing,omitempty"`   // by what it ended
	ClearNote  string        `json:"clear_note,omitempty"`
}

// AlarmAck says who takes care of an alarm.
type AlarmAck struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Note string    `json:"note,omitempty"`
}

// Active reports whether it has not ended.
func (a Alarm) Active() bool { return a.ClearedAt.IsZero() }

// Perceived is its severity now: cleared once it has ended.
func (a Alarm) Perceived() Severity {
	if a.Active() {
		return a.Severity
	}
	return SeverityCleared
}

// AlarmEntry is one committed change of the table. It carries all its moments, so every replica makes the same of it.
type AlarmEntry struct {
	Op        AlarmOp `json:"op"`
	Condition string  `json:"condition,omitempty"` // with Object: of a detection; or of the active alarm that is meant
	Object    string  `json:"object,omitempty"`
	ID        uint64  `json:"id,omitempty"` // or its number; then nothing happens to a later stay of the same condition, and a detection raises none

	Node NodeID    `json:"node"` // who proposes it
	Run  uint64    `json:"run"`  // Node's numbering: a newer run's is greater. 0: unnumbered, not protected against being applied twice
	Seq  uint64    `json:"seq"`  // grows within a run
	At   time.Time `json:"at"`   // of the newest detection, or of the change

	First      time.Time     `json:"first,omitzero"`  // of the oldest detection that the entry stands for; zero: At
	Count      int           `json:"count,omitempty"` // how many it stands for; 0 means 1
	Severity   Severity      `json:"severity,omitempty"`
	EventID    string        `json:"event_id,omitempty"`
	Text       string        `json:"text,omitempty"`
	Evidence   string        `json:"evidence,omitempty"`
	ClearAfter time.Duration `json:"clear_after,omitempty"` // cancel timer, from First; 0: none
	Told       bool          `json:"told,omitempty"`        // Node has run the reactions to what the entry says before it was committed

	By   string `json:"by,omitempty"` // who ordered it; empty: Node
	Note string `json:"note,omitempty"`
}

// Bounds of the table and its texts, in alarms and octets.
const (
	AlarmsActive    = 200
	AlarmsCleared   = 100
	AlarmTextLimit  = 500 // text, evidence, notes
	AlarmNameLimit  = 64  // condition, node
	AlarmWhoLimit   = 128 // object, by
	alarmSources    = 16
	alarmCountLimit = 1 << 31
)

func (e AlarmEntry) check() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if e.At.IsZero() || e.At.Year() < 1 || e.At.Year() > 9999 || e.First.Year() < 1 {
		refuse("moment %v", e.At)
	}
	if e.Node == "" {
		refuse("no node")
	}
	switch e.Op {
	case AlarmDetect:
		if !AlarmName(e.Condition) {
			refuse("condition %q: use 1 to %d of a-z, 0-9 and -", e.Condition, AlarmNameLimit)
		}
		if e.Severity.Rank() <= 0 {
			refuse("severity %q", e.Severity)
		}
		if e.Count < 0 || e.ClearAfter < 0 {
			refuse("count %d, clear after %v", e.Count, e.ClearAfter)
		}
	case AlarmCancelEvent, AlarmCancelTime, AlarmCancelHand, AlarmAcknowledge:
		if e.ID == 0 && e.Condition == "" {
			refuse("neither a number nor a condition")
		}
	case AlarmTold, AlarmToldClear:
		if e.ID == 0 {
			refuse("no number")
		}
	case AlarmDisplaced:
		refuse("op %q is the table's own", e.Op)
	default:
		refuse("op %q", e.Op)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrAlarmEntry, errors.Join(errs...))
}

// AlarmName reports whether s can name a condition: 1 to AlarmNameLimit of a-z, 0-9 and -.
func AlarmName(s string) bool {
	return s != "" && len(s) <= AlarmNameLimit && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Normal is e as the table takes it: moments without a zone, texts printable, bounded and without phone numbers. It is idempotent.
func (e AlarmEntry) Normal() AlarmEntry {
	e.At, e.First = e.At.UTC().Round(0), e.First.UTC().Round(0)
	if e.First.IsZero() || e.First.After(e.At) {
		e.First = e.At
	}
	if e.Count == 0 {
		e.Count = 1
	}
	e.Object = AlarmObject(e.Object)
	e.Node = NodeID(clean(string(e.Node), AlarmNameLimit))
	e.EventID = clean(e.EventID, AlarmNameLimit)
	e.Text, e.Evidence, e.Note = clean(e.Text, AlarmTextLimit), clean(e.Evidence, AlarmTextLimit), clean(e.Note, AlarmTextLimit)
	if e.By = clean(e.By, AlarmWhoLimit); e.By == "" {
		e.By = string(e.Node)
	}
	return e
}

// AlarmObject is the name under which the table knows an object. Two phone numbers that are masked alike stay two objects.
func AlarmObject(s string) string {
	masked := clean(s, AlarmWhoLimit)
	if len(s) <= AlarmWhoLimit && masked == s {
		return s
	}
	sum := uint32(2166136261) // FNV-1a, folded to 16 bits: enough to tell apart, too little to find the number by
	for i := range len(s) {
		sum = (sum ^ uint32(s[i])) * 16777619
	}
	return fmt.Sprintf("%s~%04x", clean(masked, AlarmWhoLimit-5), (sum>>16^sum)&0xffff)
}
