package main

import (
	"slices"
	"testing"

	"github.com/understudy-sip/understudy/supervisor/alarm"
)

// A condition is told when it begins and when it ends, the first word whatever it is. What one event ends, ends when none of it holds.
func TestEdges(t *testing.T) {
	var got []string
	e := newEdges(func(ev alarm.Event) { got = append(got, ev.Name+" "+ev.Object) })
	for _, step := range []struct {
		holds  bool
		begins string
		object string
		want   []string
	}{
		{false, "nic-down", "a", []string{"nic-up a"}},
		{false, "nic-down", "a", nil},
		{true, "nic-down", "a", []string{"nic-down a"}},
		{true, "nic-down", "a", nil},
		{false, "nic-down", "a", []string{"nic-up a"}},
		{true, "paused", "p", []string{"paused p"}},
		{false, "pause-expiring", "p", nil}, // "resumed" would end the pause's alarm too
		{false, "pause-expiring", "q", []string{"resumed q"}},
		{true, "pause-expiring", "p", []string{"pause-expiring p"}},
		{false, "paused", "p", nil},
		{false, "pause-expiring", "p", []string{"resumed p"}},
		{true, "sip-server-stuck", "a", []string{"sip-server-stuck a"}},
		{true, "sip-server-down", "a", []string{"sip-server-down a"}},
		{false, "sip-server-stuck", "a", nil},
		{false, "sip-server-down", "a", []string{"sip-server-serving a"}},
	} {
		got = nil
		e.level(step.holds, step.begins, step.object, "", "")
		if !slices.Equal(got, step.want) {
			t.Errorf("%s on %s is %t: got %q, want %q", step.begins, step.object, step.holds, got, step.want)
		}
	}
}

// Another text of a state is told, and whoever becomes primary says anew what the primary says.
func TestEdges_tookOver(t *testing.T) {
	var got []string
	e := newEdges(func(ev alarm.Event) { got = append(got, ev.Name+" "+ev.Text) })
	check := func(want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		got = nil
	}
	e.state(true, "sip-path-doubted", "p", "b gets no answer, w does", "")
	e.state(true, "sip-path-doubted", "p", "b gets no answer, w does", "")
	e.state(true, "sip-path-doubted", "p", "b and w get no answer", "")
	e.level(true, "nic-down", "a", "eth0", "")
	check("sip-path-doubted b gets no answer, w does", "sip-path-doubted b and w get no answer", "nic-down eth0")
	e.state(false, "sip-path-doubted", "p", "", "")
	e.state(false, "sip-path-doubted", "p", "", "")
	check("sip-path-clear ")
	e.tookOver()
	e.state(false, "sip-path-doubted", "p", "", "")
	e.level(true, "nic-down", "a", "eth0", "")
	check("sip-path-clear ")
}
