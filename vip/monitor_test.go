package vip

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Options that can't work are refused, all at once.
func TestNewMonitor_refuses(t *testing.T) {
	_, err := NewMonitor(MonitorOptions{})
	for _, want := range []string{"no service address", "interface name", "grace of 0s", "poll of 0s", "must be given"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A wish ends with the lease by itself, follows epochs as effectors do, and has another turn after every change: also after one that
// nobody noticed, because the lease lapsed between two looks.
func TestWish(t *testing.T) {
	now := time.Hour
	w := wish{clock: func() time.Duration { return now }}
	turn := uint64(0)
	for i, step := range []struct {
		hold    supervisor.Hold
		wait    time.Duration
		changes bool
		wanted  bool
	}{
		{supervisor.Hold{Epoch: 1}, 0, true, false},
		{supervisor.Hold{Epoch: 1}, 0, false, false},
		{supervisor.Hold{Held: true, Epoch: 1, Until: time.Hour + time.Second}, 0, true, true},
		{supervisor.Hold{Held: true, Epoch: 1, Until: time.Hour + 2*time.Second}, time.Second / 2, false, true},
		{supervisor.Hold{Held: true, Epoch: 1, Until: time.Hour + 9*time.Second}, 2 * time.Second, true, true}, // lapsed
		{supervisor.Hold{Epoch: 2}, 0, true, false},
		{supervisor.Hold{Held: true, Epoch: 1, Until: 2 * time.Hour}, 0, false, false}, // older
	} {
		now += step.wait
		if got := w.set(step.hold); got != step.changes {
			t.Errorf("step %d: changes %v", i, got)
		}
		wanted, at := w.wants()
		if wanted != step.wanted || (at != turn) != step.changes {
			t.Errorf("step %d: wants %v, turn %d after %d", i, wanted, at, turn)
		}
		turn = at
	}
	w.set(supervisor.Hold{Held: true, Epoch: 2, Until: now + 1})
	now++
	if wanted, _ := w.wants(); wanted {
		t.Error("wanted after the lease")
	}
}

// What MarshalText gives, UnmarshalText takes; everything else is refused.
func TestMAC(t *testing.T) {
	for _, m := range []MAC{{}, stranger} {
		text, err := m.MarshalText()
		var got MAC
		if err != nil || got.UnmarshalText(text) != nil || got != m {
			t.Errorf("%v became %q and %v, %v", m, text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "02:00:00:00:00", "02:00:00:00:00:00:00:01"} {
		if err := new(MAC).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Letters that nobody takes fill no memory.
func TestPost_bounded(t *testing.T) {
	p := newPost()
	for range 10 * postLimit {
		p.add(letter{member: stranger})
	}
	if n := len(p.take()); n != postLimit || p.take() != nil {
		t.Errorf("%d letters", n)
	}
}
