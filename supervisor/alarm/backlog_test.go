package alarm

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// A further detection that is committed late belongs to the alarm that was active then: if that has ended, it raises none; a new
// detection does.
func TestBacklog_lateRepeat(t *testing.T) {
	now := time.Unix(1e9, 0)
	x := detection(Condition{Name: "nic-down", Severity: major}, Event{Object: "a", At: now})
	b := newBacklog()
	b.synced = true
	active := uint64(0)
	next := func() (supervisor.AlarmEntry, bool) {
		e, _, ok := b.next(now, func(key) uint64 { return active })
		return e, ok
	}
	b.add(now, x, active)
	if e, ok := next(); !ok || e.ID != 0 {
		t.Fatalf("%+v %v", e, ok)
	}
	active = 7
	b.add(now, x, active)
	if _, ok := next(); ok {
		t.Fatal("a repeat must wait")
	}
	active = 0
	now = now.Add(time.Hour)
	if e, ok := next(); ok {
		t.Fatalf("raised anew: %+v", e)
	}
	b.add(now, x, active)
	if e, ok := next(); !ok || e.ID != 0 || e.Count != 1 {
		t.Fatalf("%+v %v", e, ok)
	}
	active = 8
	b.add(now, x, active)
	next() // it is one of alarm 8 now, and waits
	active = 0
	b.add(now, x, active)
	now = now.Add(time.Minute)
	if e, ok := next(); !ok || e.ID != 0 || e.Count != 1 {
		t.Fatalf("a new detection is lost with a late one: %+v %v", e, ok)
	}
}

// The worst goes first; when there is no room, the worst stays.
func TestBacklog_severity(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBacklog()
	b.synced = true
	for i := range backlogLimit {
		b.add(now, detection(Condition{Name: "x", Severity: minor}, Event{Object: string(rune('a' + i)), At: now}), 0)
	}
	if b.add(now, detection(Condition{Name: "y", Severity: warning}, Event{At: now}), 0) {
		t.Error("there was room for a warning")
	}
	if !b.add(now, detection(Condition{Name: "z", Severity: critical}, Event{At: now}), 0) {
		t.Error("there was no room for the worst")
	}
	if e, _, _ := b.next(now, func(key) uint64 { return 0 }); e.Condition != "z" {
		t.Errorf("first goes %s", e.Condition)
	}
	if len(b.order) != backlogLimit || b.dropped != 2 {
		t.Errorf("%d keys, %d dropped", len(b.order), b.dropped)
	}
}
