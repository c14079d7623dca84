package supervisor

import (
	"testing"
	"testing/quick"
	"time"
)

// move is an entry that moves the role for t.
func move(r Record, t Trigger, to NodeID, period time.Duration) Entry {
	return Entry{Role: &RoleEntry{Epoch: r.Epoch + 1, To: to, Trigger: t, Period: period, Budget: Budget{3, time.Hour}}}
}

func mustApply(t *testing.T, r Record, e Entry) Record {
	t.Helper()
	next, err := r.Apply(e)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// With nothing to be seen by anybody the factors are 1, 1, 2, 2, 4, 4, 4, ... (S4-22 to S4-24).
func TestDoubling_sequence(t *testing.T) {
	const period = 18 * time.Second
	r := mustApply(t, Record{}, move(Record{}, TriggerFirst, "a", 0))
	for i, want := range []int{1, 1, 2, 2, 4, 4, 4, 4} {
		at := []NodeID{"a", "b"}[i%2]
		if got := r.Factor(TriggerSilence, at, period); got != want {
			t.Errorf("turn %d, of %s: factor %d, want %d", i, at, got, want)
		}
		r = mustApply(t, r, move(r, TriggerSilence, []NodeID{"b", "a"}[i%2], period))
	}
}

// The rule starts over when traffic is seen (S4-25), when the role moves for another reason, and when the period is another.
func TestDoubling_startsOver(t *testing.T) {
	const period = 18 * time.Second
	r := mustApply(t, Record{}, move(Record{}, TriggerFirst, "a", 0))
	for i := range 4 {
		r = mustApply(t, r, move(r, TriggerSilence, []NodeID{"b", "a"}[i%2], period))
	}
	if got := r.Factor(TriggerSilence, "a", period); got != 4 {
		t.Fatalf("factor %d, want 4", got)
	}
	if got := r.Factor(TriggerSilence, "a", period+1); got != 1 {
		t.Errorf("another period: factor %d, want 1", got)
	}
	if got := r.Factor(TriggerListener, "a", period); got != 1 {
		t.Errorf("another trigger: factor %d, want 1", got)
	}
	for name, e := range map[string]Entry{
		"traffic":        {Settled: &SettledEntry{Epoch: r.Epoch, Trigger: TriggerSilence}},
		"another reason": move(r, TriggerServer, "b", 0),
	} {
		next := mustApply(t, r, e)
		for _, m := range []NodeID{"a", "b"} {
			if got := next.Factor(TriggerSilence, m, period); got != 1 {
				t.Errorf("%s: factor of %s %d, want 1", name, m, got)
			}
		}
		if len(next.Doubling) != 0 {
			t.Errorf("%s: something is remembered: %v", name, next.Doubling)
		}
	}
	again := mustApply(t, r, move(r, TriggerReleased, r.Primary, 0))
	if got := again.Factor(TriggerSilence, "a", period); got != 4 {
		t.Errorf("the same primary chosen again: factor %d, want 4", got)
	}
	if _, err := r.Apply(Entry{Settled: &SettledEntry{Epoch: r.Epoch - 1, Trigger: TriggerSilence}}); err == nil {
		t.Error("an older epoch's word was believed")
	}
}

// Whatever is applied, the record that it was applied to stays as it was, and no factor leaves 1 to 4.
func TestDoubling_property(t *testing.T) {
	triggers := []Trigger{TriggerSilence, TriggerListener, TriggerServer, TriggerSilence}
	check := func(steps []uint8) bool {
		r := Record{Epoch: 1, Primary: "a"}
		for _, s := range steps {
			before := r.Factor(TriggerSilence, r.Primary, time.Second)
			e := move(r, triggers[s%4], []NodeID{"a", "b"}[s/4%2], time.Second)
			if s/8%4 == 0 {
				e = Entry{Settled: &SettledEntry{Epoch: r.Epoch, Trigger: triggers[s%2]}}
			}
			next, err := r.Apply(e)
			if err != nil || r.Factor(TriggerSilence, r.Primary, time.Second) != before {
				return false
			}
			r = next
			for _, m := range []NodeID{"a", "b"} {
				if f := r.Factor(TriggerSilence, m, time.Second); f < 1 || f > DoublingLimit {
					return false
				}
			}
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}
