package supervisor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
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

// clean makes s fit for a log line and a screen. It is idempotent.
func clean(s string, limit int) string {
	s = clip(s, 2*limit) // what is thrown away need not be looked at; a number cut here lies beyond limit
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // controls, new lines, turns of direction
			return ' '
		}
		return r
	}, s)
	for {
		next := clip(MaskNumbers(s), limit)
		if next == s { // the cut may have made a number of a date
			return s
		}
		s = next
	}
}

// clip cuts s to at most limit octets, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// MaskNumbers replaces all but the last three digits of what may be a phone number, seven digits or more, by asterisks; the length
// stays. Digits may be grouped by one of - . / and by brackets; by spaces only after + or 0 or as in 555 123 4567. Addresses, dates,
// times, durations with a fraction and event numbers such as 00-52027 stay. It is idempotent.
func MaskNumbers(s string) string {
	for {
		next := maskOnce(s)
		if next == s { // what was left of one number may be the beginning of another
			return s
		}
		s = next
	}
}

func maskOnce(s string) string {
	var out []byte
	for i := 0; i < len(s); {
		if !startsNumber(s, i) {
			i++
			continue
		}
		if n := harmless(s[i:]); n > 0 && (i == 0 || s[i-1] != '+') {
			i += n
			continue
		}
		n, digits := phone(s[i:])
		if digits >= 7 {
			if out == nil {
				out = []byte(s)
			}
			for k, left := i, digits; k < i+n && left > 3; k++ {
				if isDigit(s[k]) {
					out[k] = '*'
					left--
				}
			}
		}
		i += max(n, 1)
	}
	if out == nil {
		return s
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func startsNumber(s string, i int) bool {
	return isDigit(s[i]) || (s[i] == '+' || s[i] == '(') && i+1 < len(s) && (isDigit(s[i+1]) || s[i+1] == '(')
}

// phone measures the number that s begins with, in octets and digits.
func phone(s string) (n, digits int) {
	spaced := s[0] == '+' || s[0] == '(' || strings.HasPrefix(s, "0") && len(s) > 1 && isDigit(s[1]) || northAmerican(s)
	for i := 0; i < len(s); {
		if isDigit(s[i]) {
			digits++
			i++
			n = i
			continue
		}
		gap := 0
		for i+gap < len(s) && gap < 3 && strings.IndexByte("+-./() ", s[i+gap]) >= 0 && (s[i+gap] != ' ' || spaced) {
			gap++
		}
		if gap == 0 || i+gap == len(s) || !isDigit(s[i+gap]) || i > 0 && strings.Contains(s[i:i+gap], "+") {
			break
		}
		i += gap
	}
	return n, digits
}

// northAmerican recognises 555 123 4567.
func northAmerican(s string) bool {
	return like(s, "ddd ddd dddd") && (len(s) == 12 || !isDigit(s[12]))
}

// like compares the beginning of s with a pattern in which d is a digit.
func like(s, pattern string) bool {
	if len(s) < len(pattern) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] == 'd' != isDigit(s[i]) || pattern[i] != 'd' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}

// harmless measures the date, time, address, duration or event number that s begins with; 0 if there is none.
func harmless(s string) int {
	end := func(n int) bool { return n == len(s) || !isDigit(s[n]) }
	run := func(n int) int {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		return n
	}
	clock := func(n int) int { // 22:14[:03[.123]][Z| +0000|+02:00]
		if !like(s[n:], "dd:dd") {
			return 0
		}
		n += 5
		if like(s[n:], ":dd") {
			n += 3
		}
		if n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) && run(n+1)-n <= 10 {
			n = run(n + 1)
		}
		for _, zone := range [...]string{" +dddd", " -dddd", "+dd:dd", "-dd:dd", "+dddd", "-dddd"} {
			if like(s[n:], zone) && end(n+len(zone)) {
				return n + len(zone)
			}
		}
		return n
	}
	if like(s, "dddd-dd-dd") && end(10) && (s[0] == '1' || s[0] == '2') {
		if len(s) > 11 && (s[10] == 'T' || s[10] == ' ') {
			return max(10, clock(11))
		}
		return 10
	}
	if n := clock(0); n > 0 && end(n) {
		return n
	}
	if like(s, "dd-ddddd") && s[0] == '0' && end(8) && (len(s) == 8 || !strings.ContainsRune("-/ ", rune(s[8])) || len(s) == 9 || !isDigit(s[9])) {
		return 8
	}
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] == '.') {
		n++
	}
	word := strings.TrimRight(s[:n], ".")
	if a, err := netip.ParseAddr(word); err == nil && a.Is4() {
		n = len(word)
		if n+1 < len(s) && s[n] == '/' && isDigit(s[n+1]) && run(n+1)-n <= 3 { // its prefix length
			return run(n + 1)
		}
		return n
	}
	if strings.Count(word, ".") == 1 && n == len(word) && n < len(s) && run(0) <= 6 && n-run(0) <= 10 { // Go's durations have nine digits after the point
		for _, unit := range [...]string{"s", "ms", "us", "µs", "ns", "%"} {
			if strings.HasPrefix(s[n:], unit) && (n+len(unit) == len(s) || strings.IndexByte(" ,;)]~", s[n+len(unit)]) >= 0) {
				return n
			}
		}
	}
	return 0
}
