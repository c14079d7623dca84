package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var alarmNoon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func detect(condition, object string, s Severity, after time.Duration) AlarmEntry {
	return AlarmEntry{Op: AlarmDetect, Condition: condition, Object: object, Severity: s, Node: "edge-a", At: alarmNoon.Add(after), Text: "text"}
}

func applyAlarms(t *testing.T, table Alarms, entries ...AlarmEntry) Alarms {
	t.Helper()
	for _, e := range entries {
		next, err := table.Apply(e)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		table = next
	}
	return table
}

// S4-31, S4-35: the whole machine, arrow by arrow.
func TestAlarms_machine(t *testing.T) {
	raise := detect("nic-down", "edge-a", SeverityMajor, 0)
	raise.ClearAfter, raise.EventID = time.Hour, "00-52027"
	table := applyAlarms(t, Alarms{}, raise)
	a, ok := table.Find("nic-down", "edge-a")
	if !ok || a.ID != 1 || a.Count != 1 || !a.First.Equal(alarmNoon) || a.ClearAfter != time.Hour || a.Perceived() != SeverityMajor || a.EventID != "00-52027" {
		t.Fatalf("raised: %+v", a)
	}
	again := detect("nic-down", "edge-a", SeverityCritical, time.Minute)
	again.Count, again.Text = 5, "newer"
	table = applyAlarms(t, table, again)
	a, _ = table.Find("nic-down", "edge-a")
	if a.ID != 1 || a.Count != 6 || !a.First.Equal(alarmNoon) || !a.Last.Equal(alarmNoon.Add(time.Minute)) || a.ClearAfter != time.Hour ||
		a.Severity != SeverityCritical || a.Text != "newer" {
		t.Fatalf("detected again: %+v", a)
	}
	table = applyAlarms(t, table, AlarmEntry{Op: AlarmAcknowledge, ID: 1, Node: "edge-b", At: alarmNoon, By: "ann", Note: "on it"}, AlarmEntry{Op: AlarmTold, ID: 1, Node: "edge-b", At: alarmNoon})
	if a, _ = table.Find("nic-down", "edge-a"); a.Acked.By != "ann" || a.Acked.Note != "on it" || a.Told != "edge-b" || !a.Active() {
		t.Fatalf("acknowledged: %+v", a)
	}
	for i, op := range []AlarmOp{AlarmCancelEvent, AlarmCancelTime, AlarmCancelHand} {
		e := AlarmEntry{Op: op, Condition: "nic-down", Object: "edge-a", Node: "edge-b", At: alarmNoon.Add(2 * time.Minute)}
		cleared := applyAlarms(t, table, e)
		a, ok := cleared.ByID(1)
		if !ok || a.Active() || a.Perceived() != SeverityCleared || a.Clearing != op || a.ClearedBy != "edge-b" || len(cleared.Active) != 0 {
			t.Errorf("%d: %s: %+v", i, op, a)
		}
		if _, err := cleared.Apply(e); !errors.Is(err, ErrNoAlarm) {
			t.Errorf("%s twice: %v", op, err)
		}
		cleared = applyAlarms(t, cleared, AlarmEntry{Op: AlarmToldClear, ID: 1, Node: "edge-b", At: alarmNoon})
		if a, _ := cleared.ByID(1); a.ToldClear != "edge-b" {
			t.Errorf("told: %+v", a)
		}
		next := applyAlarms(t, cleared, detect("nic-down", "edge-a", SeverityMajor, time.Hour))
		if a, _ := next.Find("nic-down", "edge-a"); a.ID != 2 || a.Count != 1 || a.Acked != (AlarmAck{}) || a.Told != "" {
			t.Errorf("a later stay is an alarm of its own: %+v", a)
		}
		if _, err := next.Apply(AlarmEntry{Op: AlarmCancelTime, ID: 1, Node: "edge-b", At: alarmNoon}); !errors.Is(err, ErrNoAlarm) {
			t.Errorf("an old timer ended a new alarm: %v", err)
		}
		late := detect("nic-down", "edge-a", SeverityMajor, 0)
		late.ID = 1
		if _, err := cleared.Apply(late); !errors.Is(err, ErrNoAlarm) {
			t.Errorf("a late count raised a new alarm: %v", err)
		}
	}
}

// An entry that was proposed twice counts once; one of a run that is over counts not at all.
func TestAlarms_repeatedEntry(t *testing.T) {
	numbered := func(run, seq uint64) AlarmEntry {
		e := detect("nic-down", "edge-a", SeverityMajor, 0)
		e.Run, e.Seq = run, seq
		return e
	}
	table := applyAlarms(t, Alarms{}, numbered(7, 3))
	for _, e := range []AlarmEntry{numbered(7, 3), numbered(7, 2), numbered(6, 9)} {
		if next, err := table.Apply(e); !errors.Is(err, ErrAlarmRepeated) || !reflect.DeepEqual(next, table) {
			t.Errorf("%d/%d: %v", e.Run, e.Seq, err)
		}
	}
	table = applyAlarms(t, table, numbered(7, 4), numbered(8, 1))
	if a, _ := table.Find("nic-down", "edge-a"); a.Count != 3 {
		t.Errorf("count %d, want 3", a.Count)
	}
	for i := range 40 { // nodes come and go
		e := numbered(1, 1)
		e.Node, e.At = NodeID(fmt.Sprintf("n%02d", i)), alarmNoon.Add(time.Duration(i)*time.Second)
		table = applyAlarms(t, table, e)
	}
	if len(table.Sources) != alarmSources || table.Source("n39").Run != 1 || table.Source("n00").Run != 0 {
		t.Errorf("sources: %+v", table.Sources)
	}
}

// The table is bounded: the worst stay, and who is refused learns of the limit.
func TestAlarms_full(t *testing.T) {
	var table Alarms
	for i := range AlarmsActive {
		s := SeverityMinor
		if i == 17 || i == 30 {
			s = SeverityWarning
		}
		table = applyAlarms(t, table, detect("device-out-of-service", fmt.Sprint(i), s, time.Duration(i)*time.Second))
	}
	if _, err := table.Apply(detect("x", "x", SeverityWarning, 0)); !errors.Is(err, ErrAlarmsFull) || !strings.Contains(err.Error(), "200") {
		t.Errorf("got %v", err)
	}
	table = applyAlarms(t, table, detect("no-primary", "pair", SeverityCritical, time.Hour))
	if a, ok := table.ByID(18); !ok || a.Clearing != AlarmDisplaced || a.Object != "17" {
		t.Errorf("the longest quiet of the least severe goes: %+v", table.Cleared)
	}
	if table.Worst() != SeverityCritical || len(table.Active) != AlarmsActive {
		t.Errorf("worst %s of %d", table.Worst(), len(table.Active))
	}
	table = applyAlarms(t, table, detect("device-out-of-service", "0", SeverityMinor, 2*time.Hour)) // no new alarm
	for i := range 300 {
		table = applyAlarms(t, table, detect("loop-late", fmt.Sprint(i), SeverityCritical, 0),
			AlarmEntry{Op: AlarmCancelHand, Condition: "loop-late", Object: fmt.Sprint(i), Node: "edge-a", At: alarmNoon, By: "ann"})
	}
	if len(table.Cleared) != AlarmsCleared || len(table.Active) > AlarmsActive {
		t.Errorf("%d active, %d cleared", len(table.Active), len(table.Cleared))
	}
	if newest := table.Cleared[AlarmsCleared-1]; newest.Object != "299" {
		t.Errorf("newest of the cleared is %s", newest.Object)
	}
}

// Malformed entries change nothing.
func TestAlarms_refuses(t *testing.T) {
	good := detect("nic-down", "edge-a", SeverityMajor, 0)
	for name, spoil := range map[string]func(*AlarmEntry){
		"empty op":      func(e *AlarmEntry) { e.Op = "" },
		"unknown op":    func(e *AlarmEntry) { e.Op = "explode" },
		"own op":        func(e *AlarmEntry) { e.Op = AlarmDisplaced },
		"no condition":  func(e *AlarmEntry) { e.Condition = "" },
		"bad condition": func(e *AlarmEntry) { e.Condition = "NIC down" },
		"long name":     func(e *AlarmEntry) { e.Condition = strings.Repeat("x", 65) },
		"cleared":       func(e *AlarmEntry) { e.Severity = SeverityCleared },
		"bad severity":  func(e *AlarmEntry) { e.Severity = "awful" },
		"no moment":     func(e *AlarmEntry) { e.At = time.Time{} },
		"far moment":    func(e *AlarmEntry) { e.At = time.Unix(1<<50, 0) },
		"no node":       func(e *AlarmEntry) { e.Node = "" },
		"negative":      func(e *AlarmEntry) { e.Count = -1 },
		"told nothing":  func(e *AlarmEntry) { e.Op = AlarmTold },
		"end of what":   func(e *AlarmEntry) { e.Op, e.Condition = AlarmCancelHand, "" },
	} {
		e := good
		spoil(&e)
		if next, err := (Alarms{}).Apply(e); !errors.Is(err, ErrAlarmEntry) || !reflect.DeepEqual(next, Alarms{}) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// randomEntry makes entries that meet each other often.
func randomEntry(r *rand.Rand) AlarmEntry {
	ops := []AlarmOp{AlarmDetect, AlarmDetect, AlarmDetect, AlarmCancelEvent, AlarmCancelTime, AlarmCancelHand, AlarmAcknowledge, AlarmTold, AlarmToldClear, "x"}
	e := AlarmEntry{
		Op: ops[r.IntN(len(ops))], Condition: fmt.Sprintf("c%d", r.IntN(30)), Object: fmt.Sprint("+4915112", r.IntN(20)),
		Node: NodeID(fmt.Sprint("n", r.IntN(3))), Run: uint64(r.IntN(3)), Seq: uint64(r.IntN(2000)), At: alarmNoon.Add(time.Duration(r.IntN(1e6)) * time.Millisecond),
		Severity: severities[r.IntN(len(severities))], Text: "call to +49 151 2345678", Count: r.IntN(4), By: "ann",
	}
	if r.IntN(2) == 0 {
		e.ID = uint64(r.IntN(300))
	}
	return e
}

// invariants of any table that Apply gives.
func checkAlarms(t *testing.T, table Alarms) {
	t.Helper()
	if len(table.Active) > AlarmsActive || len(table.Cleared) > AlarmsCleared || len(table.Sources) > alarmSources {
		t.Fatalf("%d active, %d cleared, %d sources", len(table.Active), len(table.Cleared), len(table.Sources))
	}
	keys, ids, last := map[string]bool{}, map[uint64]bool{}, uint64(0)
	for _, a := range table.Active {
		if !a.Active() || keys[a.Condition+" "+a.Object] || ids[a.ID] || a.ID <= last || a.ID > table.LastID {
			t.Fatalf("active: %+v", a)
		}
		keys[a.Condition+" "+a.Object], ids[a.ID], last = true, true, a.ID
	}
	for _, a := range table.Cleared {
		if a.Active() || ids[a.ID] || a.ID > table.LastID || a.ClearedAt.Before(a.First) {
			t.Fatalf("cleared: %+v", a)
		}
		ids[a.ID] = true
	}
	for _, a := range append(append([]Alarm{}, table.Active...), table.Cleared...) {
		if a.Count < 1 || a.Last.Before(a.First) || a.Severity.Rank() < 1 || !AlarmName(a.Condition) {
			t.Fatalf("alarm: %+v", a)
		}
		for _, s := range []string{a.Text, a.Evidence, a.Object, a.ClearNote, a.Acked.Note} {
			if len(s) > AlarmTextLimit || !utf8.ValidString(s) || MaskNumbers(s) != s {
				t.Fatalf("text %q", s)
			}
		}
	}
}

// The same entries in the same order give the same table on every replica, whether it lived all along, came up from a snapshot in the
// middle or got its entries as JSON; and no table that was handed out changes afterwards.
func TestAlarms_replicas(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		var one, two Alarms
		type kept struct {
			table Alarms
			text  string
		}
		var history []kept
		for i := range 600 {
			e := randomEntry(r)
			wire, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var received AlarmEntry
			if err := json.Unmarshal(wire, &received); err != nil {
				t.Fatal(err)
			}
			var err1, err2 error
			one, err1 = one.Apply(e)
			two, err2 = two.Apply(received)
			if fmt.Sprint(err1) != fmt.Sprint(err2) {
				t.Fatalf("seed %d, entry %d: %v / %v", seed, i, err1, err2)
			}
			if i%60 != 59 {
				continue
			}
			checkAlarms(t, one)
			a, _ := json.Marshal(one)
			b, _ := json.Marshal(two)
			if string(a) != string(b) {
				t.Fatalf("seed %d, entry %d: replicas differ\n%s\n%s", seed, i, a, b)
			}
			if i%180 == 179 { // a snapshot
				var restored Alarms
				if err := json.Unmarshal(b, &restored); err != nil {
					t.Fatal(err)
				}
				two = restored
				history = append(history, kept{one, string(a)})
			}
		}
		for _, k := range history {
			if now, _ := json.Marshal(k.table); string(now) != k.text {
				t.Fatalf("seed %d: a table changed after it was handed out", seed)
			}
		}
	}
}

func FuzzAlarms(f *testing.F) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		var list []AlarmEntry
		for range 5 {
			list = append(list, randomEntry(r))
		}
		b, _ := json.Marshal(list)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var list []AlarmEntry
		if json.Unmarshal(b, &list) != nil {
			return
		}
		var table Alarms
		for _, e := range list {
			if n := e.Normal(); !reflect.DeepEqual(n.Normal(), n) {
				t.Fatalf("Normal is not idempotent: %+v\n%+v", n, n.Normal())
			}
			table, _ = table.Apply(e)
			checkAlarms(t, table)
		}
		wire, err := json.Marshal(table)
		if err != nil {
			t.Fatal(err)
		}
		var back Alarms
		if err := json.Unmarshal(wire, &back); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(back); string(again) != string(wire) {
			t.Fatalf("snapshot differs:\n%s\n%s", wire, again)
		}
	})
}

// No whole phone number gets into an alarm; what people need to find a fault does.
func TestMaskNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"sip:+4915112345678@192.0.2.10:5060":      "sip:+**********678@192.0.2.10:5060",
		"sip:4915112345678@10.20.30.40":           "sip:**********678@10.20.30.40",
		"call from 0151 23456789 failed":          "call from **** *****789 failed",
		"+49 (151) 2345-678":                      "+** (***) ****-678",
		"+1-555-123-4567, x":                      "+*-***-***-*567, x",
		"(030) 123 45 67":                         "(***) *** *5 67",
		"555 123 4567":                            "*** *** *567",
		"01.23.45.67.89":                          "**.**.**.*7.89",
		"tel 5551234567":                          "tel *******567",
		"123456":                                  "123456",
		"Recv-Q 212992, in 180, out 0":            "Recv-Q 212992, in 180, out 0",
		"412 398 22901 of 77":                     "412 398 22901 of 77",
		"at 2026-11-20 22:14:03.123456789 +0000":  "at 2026-11-20 22:14:03.123456789 +0000",
		"2026-11-20T22:14:03.123Z to 2026-11-21":  "2026-11-20T22:14:03.123Z to 2026-11-21",
		"22:14:03.123456 up":                      "22:14:03.123456 up",
		"00-52027 and 00-05150":                   "00-52027 and 00-05150",
		"192.0.2.10/24 via 203.0.113.254":         "192.0.2.10/24 via 203.0.113.254",
		"[2001:db8:1234:5678::10]:5060 fe80::1%2": "[2001:db8:1234:5678::10]:5060 fe80::1%2",
		"02:42:ac:11:00:02":                       "02:42:ac:11:00:02",
		"took 30.123456789s, 1.2345678ms":         "took 30.123456789s, 1.2345678ms",
		"took 0.1234567890123s":                   "took *.**********123s",
		"+10.20.30.40":                            "+**.**.*0.40",
		"":                                        "",
	} {
		if got := MaskNumbers(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Objects that are masked alike stay apart, names stay as they are, and the name is the same however often it is made.
func TestAlarmObject(t *testing.T) {
	one, two := AlarmObject("sip:+4915112345678@example.org"), AlarmObject("sip:+4915122345678@example.org")
	if one == two || strings.Contains(one, "12345678") || AlarmObject(one) != one {
		t.Errorf("%q %q", one, two)
	}
	for _, same := range []string{"edge-a", "203.0.113.10", "", "trunk 7 (Köln)"} {
		if got := AlarmObject(same); got != same {
			t.Errorf("%q became %q", same, got)
		}
	}
	long := AlarmObject(strings.Repeat("ü", 200))
	if len(long) > AlarmWhoLimit || !utf8.ValidString(long) || AlarmObject(long) != long {
		t.Errorf("%d octets: %q", len(long), long)
	}
	if got := AlarmObject("a\nb\x1b[2J\xff"); strings.ContainsAny(got, "\n\x1b\xff") {
		t.Errorf("%q", got)
	}
}

func FuzzMaskNumbers(f *testing.F) {
	for _, s := range []string{"+49 151 2345678", "2026-11-20 22:14", "10.20.30.40", "0151.234.56789", "30.123456s 00-52027"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := MaskNumbers(s)
		if len(got) != len(s) || MaskNumbers(got) != got {
			t.Fatalf("%q became %q, then %q", s, got, MaskNumbers(got))
		}
		for i := range len(s) { // no ten digits in a row stay, wherever they are; a fraction of a second has nine
			if i >= 10 && strings.Trim(got[i-10:i], "0123456789") == "" {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if o := AlarmObject(s); AlarmObject(o) != o || len(o) > AlarmWhoLimit {
			t.Fatalf("object %q of %q, then %q", o, s, AlarmObject(o))
		}
		if c := clean(s, 40); clean(c, 40) != c || len(c) > 40 {
			t.Fatalf("clean %q of %q", c, s)
		}
	})
}
