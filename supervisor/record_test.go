package supervisor

import (
	"errors"
	"testing"
	"time"
)

var noon = time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)

func role(e Epoch, to NodeID, at time.Time, t Trigger) Entry {
	return Entry{Role: &RoleEntry{Epoch: e, To: to, At: at, Trigger: t, Budget: Budget{Count: 2, Per: time.Hour}}}
}

// applyAll applies entries that must all apply.
func applyAll(t *testing.T, r Record, es ...Entry) Record {
	t.Helper()
	for _, e := range es {
		next, err := r.Apply(e)
		if err != nil {
			t.Fatalf("apply %+v: %v", *e.Role, err)
		}
		r = next
	}
	return r
}

// TestRecord_Apply_staleEpoch proves that an entry applies on top of the epoch before it only, so repeating it is harmless.
func TestRecord_Apply_staleEpoch(t *testing.T) {
	r := applyAll(t, Record{}, role(1, "a", noon, TriggerFirst), role(2, "b", noon, TriggerOperator))
	for _, e := range []Epoch{0, 1, 2, 4} {
		got, err := r.Apply(role(e, "a", noon, TriggerOperator))
		if !errors.Is(err, ErrStaleEpoch) || got.Epoch != 2 || got.Primary != "b" || len(got.History) != 2 {
			t.Errorf("epoch %d on top of 2: got %d of %s, %v", e, got.Epoch, got.Primary, err)
		}
	}
	if _, err := r.Apply(Entry{}); err == nil {
		t.Error("an empty entry applies")
	}
}

// TestRecord_Apply_pause proves that a pause holds the role where it is against everything automatic, and that it ends.
func TestRecord_Apply_pause(t *testing.T) {
	r := applyAll(t, Record{}, role(1, "a", noon, TriggerFirst))
	r, err := r.Apply(Entry{Pause: &PauseEntry{At: noon, Pause: Pause{Until: noon.Add(time.Minute)}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		to      NodeID
		trigger Trigger
		at      time.Time
		refused bool
	}{
		{"b", TriggerSilent, noon, true},
		{"b", TriggerReleased, noon, true},
		{"b", TriggerServer, noon.Add(time.Minute - 1), true},
		{"b", TriggerServer, noon.Add(time.Minute), false},
		{"b", TriggerOperator, noon, false},
		{"b", TriggerLeave, noon, false},
		{"a", TriggerSilent, noon, false}, // it does not move
	} {
		_, err := r.Apply(role(2, x.to, x.at, x.trigger))
		if got := errors.Is(err, ErrPaused); got != x.refused {
			t.Errorf("%s to %s at %v: got %v, want refused %v", x.trigger, x.to, x.at, err, x.refused)
		}
	}
	r, err = r.Apply(Entry{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(role(2, "b", noon, TriggerSilent)); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

// TestRecord_Apply_budget proves that judged switchovers are limited, that takeovers use the budget up and are never refused, and that
// neither operators nor a primary that is chosen again do.
func TestRecord_Apply_budget(t *testing.T) {
	r := applyAll(t, Record{}, role(1, "a", noon, TriggerFirst), role(2, "b", noon, TriggerOperator), role(3, "b", noon, TriggerSilent),
		role(4, "a", noon.Add(time.Minute), TriggerPath))
	if got := r.BudgetLeft(Budget{Count: 2, Per: time.Hour}, noon.Add(time.Minute)); got != 1 {
		t.Errorf("left after an order, a standing again and a judged switchover: got %d, want 1", got)
	}
	r = applyAll(t, r, role(5, "b", noon.Add(2*time.Minute), TriggerSilent))
	if _, err := r.Apply(role(6, "a", noon.Add(3*time.Minute), TriggerPath)); !errors.Is(err, ErrBudget) {
		t.Errorf("a third judged: got %v", err)
	}
	applyAll(t, r, role(6, "a", noon.Add(3*time.Minute), TriggerSilent))
	applyAll(t, r, role(6, "a", noon.Add(time.Hour+time.Minute), TriggerPath)) // the first has left the hour
}

// TestRecord_Apply_wallGoesBack proves that history stays in order when a proposer's wall clock lags, and that the budget does not
// come back with it.
func TestRecord_Apply_wallGoesBack(t *testing.T) {
	r := applyAll(t, Record{}, role(1, "a", noon, TriggerFirst), role(2, "b", noon.Add(-time.Hour), TriggerSilent), role(3, "a", noon.Add(-24*time.Hour), TriggerSilent))
	for i, h := range r.History {
		if h.At.Before(noon) {
			t.Errorf("line %d is of %v", i, h.At)
		}
	}
	if r.Since != noon {
		t.Errorf("since: got %v, want %v", r.Since, noon)
	}
	if _, err := r.Apply(role(4, "b", noon.Add(-48*time.Hour), TriggerPath)); !errors.Is(err, ErrBudget) {
		t.Errorf("got %v", err)
	}
}

// TestRecord_Apply_history proves that the history is bounded, keeps the newest, and that records do not share it.
func TestRecord_Apply_history(t *testing.T) {
	r := Record{}
	for e := Epoch(1); e <= HistoryLimit+50; e++ {
		r = applyAll(t, r, role(e, []NodeID{"a", "b"}[e%2], noon, TriggerOperator))
	}
	if len(r.History) != HistoryLimit || r.History[0].Epoch != 51 || r.History[HistoryLimit-1].Epoch != HistoryLimit+50 {
		t.Errorf("got %d lines, epochs %d to %d", len(r.History), r.History[0].Epoch, r.History[len(r.History)-1].Epoch)
	}
	one := applyAll(t, r, role(r.Epoch+1, "a", noon, TriggerOperator))
	two := applyAll(t, r, role(r.Epoch+1, "b", noon, TriggerLeave))
	if got := one.History[HistoryLimit-1].Trigger; got != TriggerOperator {
		t.Errorf("another record's line: %s, %s", got, two.Primary)
	}
}

// Alarms live in the record, beside the role and without touching it; an entry that does not apply changes nothing.
func TestRecord_alarms(t *testing.T) {
	r := Record{Epoch: 3, Primary: "a"}
	next, err := r.Apply(Entry{Alarm: &AlarmEntry{
		Op: AlarmDetect, Condition: "nic-down", Object: "a", Node: "a", At: time.Unix(1000, 0), Severity: SeverityMajor, Text: "no carrier on eth1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := next.Alarms.Find("nic-down", "a"); !ok || a.Text != "no carrier on eth1" || next.Epoch != 3 || next.Primary != "a" {
		t.Errorf("got %+v", next)
	}
	if len(r.Alarms.Active) != 0 {
		t.Error("the record that the entry was applied to has changed")
	}
	if _, err := next.Apply(Entry{Alarm: &AlarmEntry{Op: AlarmCancelHand, Condition: "no-such", Object: "a", Node: "a", At: time.Unix(1001, 0)}}); err == nil {
		t.Error("an alarm that is not there was cleared")
	}
}
