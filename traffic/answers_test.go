package traffic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const sec = time.Second

// Each request is counted once: when it is answered, or when it has waited for too long.
func TestAnswers(t *testing.T) {
	a := newAnswers(3 * sec)
	start := 100 * sec
	check := func(step string, now time.Duration, open int, answered, unanswered, invites uint64) {
		t.Helper()
		a.expire(now)
		gotAnswered, gotUnanswered := a.sum(now)
		if a.open != open || gotAnswered != answered || gotUnanswered != unanswered || a.invites != invites {
			t.Fatalf("%s: got %d open, %d answered, %d unanswered, %d INVITEs, want %d, %d, %d, %d",
				step, a.open, gotAnswered, gotUnanswered, a.invites, open, answered, unanswered, invites)
		}
	}
	if !a.ask(1, true, start) || !a.ask(2, false, start+sec) || a.ask(1, true, start+2*sec) {
		t.Fatal("ask tells a request that is sent again from a new one wrongly")
	}
	check("asked", start+2*sec, 2, 0, 0, 0)
	a.answer(1, false, start+2*sec)
	check("100", start+2*sec, 1, 1, 0, 0)
	a.answer(1, true, start+2*sec)
	a.answer(1, true, start+2*sec)
	a.answer(99, true, start+2*sec)
	check("180, 200, another's", start+2*sec, 1, 1, 0, 1)
	if at, ok := a.next(); !ok || at != start+4*sec {
		t.Errorf("next: got %v, %v, want %v", at, ok, start+4*sec)
	}
	check("just in time", start+4*sec-1, 1, 1, 0, 1)
	check("too late", start+4*sec, 0, 1, 1, 1)
	if _, ok := a.next(); ok {
		t.Error("next: somebody still waits")
	}
	a.answer(2, true, start+5*sec)
	if a.ask(2, false, start+6*sec) {
		t.Error("sent again after it was found unanswered: taken for a new one")
	}
	check("answered at last", start+6*sec, 0, 1, 1, 1)
	check("10 s later", start+15*sec, 0, 0, 0, 1)
	if !a.ask(2, false, start+40*sec) {
		t.Error("after 32 s: not taken for a new one")
	}
	check("asked anew", start+40*sec, 1, 0, 0, 1)
	if a.total != (tally{answered: 1, unanswered: 1}) {
		t.Errorf("since the start: got %+v", a.total)
	}
}

// A flood pushes out the oldest and is never more than the table; the sums stay right.
func TestAnswers_bounded(t *testing.T) {
	a := newAnswers(3 * sec)
	for i := range uint64(3 * maxRequests) {
		if !a.ask(i+1, false, sec) {
			t.Fatalf("request %d: not taken for a new one", i)
		}
	}
	if a.open != maxRequests || a.crowded != 2*maxRequests {
		t.Errorf("got %d open, %d forgotten, want %d and %d", a.open, a.crowded, maxRequests, 2*maxRequests)
	}
	for i := range uint64(3 * maxRequests) {
		a.answer(i+1, true, 2*sec)
	}
	if a.open != 0 || a.total.answered != maxRequests {
		t.Errorf("got %d open, %d answered, want none and %d", a.open, a.total.answered, maxRequests)
	}
}

// An old measurement does not spoil a younger part of the window.
func TestAnswers_window(t *testing.T) {
	a := newAnswers(sec)
	a.count(100*sec).answered++
	a.count(100*sec-windowLength).unanswered++
	a.count(91*sec).unanswered++
	if answered, unanswered := a.sum(100 * sec); answered != 1 || unanswered != 1 {
		t.Errorf("got %d and %d, want 1 and 1", answered, unanswered)
	}
	if answered, unanswered := a.sum(100*sec + windowLength); answered+unanswered != 0 {
		t.Errorf("10 s later: got %d and %d, want none", answered, unanswered)
	}
}

// The table finds what a map would, whatever collides.
func TestRequests_asMap(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			const size = 16
			table := newRequests(size)
			var order []uint64 // what the table should hold, oldest first
			for step := range 500 {
				key := 1 + rng.Uint64N(40)
				if rng.IntN(2) == 0 {
					key += 1 << 40 // the same home
				}
				if i := slices.Index(order, key); i >= 0 {
					order[i] = 0 // its place is vacant
				}
				table.add(transaction{key: key, at: time.Duration(step)})
				order = append(order, key)
				order = order[max(0, len(order)-size):]
				for k := uint64(1); k <= 40; k++ {
					for _, k := range []uint64{k, k + 1<<40} {
						if got, want := table.find(k) != nil, slices.Contains(order, k); got != want {
							t.Fatalf("step %d: find %d: got %v, want %v", step, k, got, want)
						}
					}
				}
			}
		})
	}
}
