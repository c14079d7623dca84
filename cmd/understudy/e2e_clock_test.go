package main

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// The wall clock jumps: Linux has no namespace for it, so what depends on it is tried here on the record, which is all that does. Leases run on a
// clock that nobody sets.
//
// A pause ends when the wall clock says so, wherever it jumped; a jump back makes the budget stricter, never looser; history stays in order.
func TestClock_jumps(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	budget := supervisor.Budget{Count: 3, Per: time.Hour}
	r := supervisor.Record{}
	to := map[bool]supervisor.NodeID{true: "a", false: "b"}
	commit := func(at time.Time, trigger supervisor.Trigger) error {
		next, err := r.Apply(supervisor.Entry{Role: &supervisor.RoleEntry{
			Epoch: r.Epoch + 1, To: to[r.Primary != "a"], At: at, Trigger: trigger, Budget: budget, By: "a",
		}})
		if err == nil {
			r = next
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(commit(noon, supervisor.TriggerFirst))
	must(commit(noon.Add(time.Minute), supervisor.TriggerPath))
	must(commit(noon.Add(-30*24*time.Hour), supervisor.TriggerPath)) // set back by a month
	if r.Since.Before(noon.Add(time.Minute)) {
		t.Errorf("history goes back to %v", r.Since)
	}
	must(commit(noon.Add(-30*24*time.Hour), supervisor.TriggerSilent)) // a takeover is never refused
	if err := commit(noon.Add(-30*24*time.Hour), supervisor.TriggerPath); err == nil {
		t.Error("a clock that was set back gave budget")
	}
	must(commit(noon.Add(2*time.Hour), supervisor.TriggerPath))

	paused, err := r.Apply(supervisor.Entry{Pause: &supervisor.PauseEntry{At: noon, Pause: supervisor.Pause{Until: noon.Add(time.Hour), Reason: "work"}}})
	must(err)
	for at, want := range map[time.Time]bool{noon: true, noon.Add(-time.Hour): true, noon.Add(time.Hour): false, noon.Add(365 * 24 * time.Hour): false} {
		if got := paused.PausedAt(at); got != want {
			t.Errorf("at %v: paused %t, want %t", at, got, want)
		}
	}
}
