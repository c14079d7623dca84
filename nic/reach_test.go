package nic

import (
	"fmt"
	"testing"
	"time"
)

// asks lets time pass until end and gives the moments of requests, "!" before those that go everywhere, and of verdicts. answers tells
// whether the gateway answers a request of that moment, which takes it a millisecond.
func asks(g *reach, end time.Duration, answers func(at time.Duration) bool) (trace []string) {
	g.start(epoch)
	state := g.state
	for now := g.next(); now.Before(epoch.Add(end)); now = g.next() {
		at := now.Sub(epoch)
		if ask, everywhere := g.tick(now); ask {
			trace = append(trace, map[bool]string{true: "!", false: ""}[everywhere]+at.String())
			if answers(at) {
				g.answer(now.Add(ms))
			}
		}
		if g.state != state {
			state = g.state
			trace = append(trace, state.String())
		}
	}
	return trace
}

func never(time.Duration) bool { return false }

// A gateway that answers is asked once a period; one that doesn't four times as often, in turns everywhere, until it is silent.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		name    string
		fall    int
		end     time.Duration
		answers func(time.Duration) bool
		want    string
	}{
		{"answers", 3, 3500 * ms, func(time.Duration) bool { return true }, "[0s answering 1.001s 2.002s 3.003s]"},
		{"silent", 3, 5500 * ms, never, "[0s !1s 1.25s !1.5s 1.75s !2s 2.25s !2.5s 2.75s !3s silent 4s !5s]"},
		{"one fall", 1, 2500 * ms, never, "[0s !1s silent 2s]"},
		{"one request lost", 3, 3 * time.Second, func(at time.Duration) bool { return at != 0 }, "[0s !1s answering 2.001s]"},
		{"back", 1, 4 * time.Second, func(at time.Duration) bool { return at >= 2*time.Second }, "[0s !1s silent 2s answering 3.001s]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &reach{period: time.Second, fall: c.fall}
			if got := fmt.Sprint(asks(g, c.end, c.answers)); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// A fifth of the packets lost, in both directions, silences a gateway less than once in a thousand falls.
func TestReach_loss(t *testing.T) {
	seed := uint64(1)
	lost := func() bool { // the same numbers each time
		seed = seed*6364136223846793005 + 1442695040888963407
		return seed>>33%5 == 0
	}
	g := &reach{period: time.Second, fall: 3}
	silences := 0
	for _, x := range asks(g, 3*time.Hour, func(time.Duration) bool { return !lost() && !lost() }) {
		if x == "silent" {
			silences++
		}
	}
	if silences > 3 {
		t.Errorf("got %d silences in 3 h, want next to none", silences)
	}
}

// A process that was frozen asks again before it judges, and an interface that was down doesn't count against the gateway.
func TestReach_notThere(t *testing.T) {
	g := &reach{period: time.Second, fall: 1}
	g.start(epoch)
	g.tick(epoch)
	now := epoch.Add(time.Minute)
	if ask, _ := g.tick(now); !ask || g.state != ReachUnknown {
		t.Errorf("after a freeze: got asked %v and %v, want a request and no verdict", ask, g.state)
	}
	g.stop()
	if ask, _ := g.tick(now.Add(time.Second)); ask || !g.next().IsZero() {
		t.Error("while the interface is down: got a request, want none")
	}
	g.start(now.Add(2 * time.Second))
	if ask, _ := g.tick(now.Add(2 * time.Second)); !ask || g.state != ReachUnknown {
		t.Errorf("up again: got asked %v and %v, want a request and no verdict", ask, g.state)
	}
	g.tick(now.Add(3 * time.Second))
	if g.state != ReachSilent {
		t.Errorf("no answer: got %v, want silent", g.state)
	}
}
