package main

import (
	"fmt"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// stats counts what a run has seen.
type stats struct {
	seeds, steps int
	switchovers  map[supervisor.Trigger]int
	faults       map[string]int
	recovery     time.Duration // worst, from the end of all faults
}

func newStats() stats {
	return stats{switchovers: map[supervisor.Trigger]int{}, faults: map[string]int{}}
}

func (s *stats) add(t stats) {
	s.seeds += t.seeds
	s.steps += t.steps
	for k, v := range t.switchovers {
		s.switchovers[k] += v
	}
	for k, v := range t.faults {
		s.faults[k] += v
	}
	s.recovery = max(s.recovery, t.recovery)
}

// storm runs one seed: faults for the given time, then peace, in which somebody must serve and stay.
func storm(seed uint64, preset supervisor.Preset, faults time.Duration, tr *trace) (w *world) {
	w = newWorld(seed, preset, false, tr)
	w.stats = newStats()
	w.stats.seeds = 1
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic: %v", r)
		}
	}()
	w.run(w.timing.Promise(supervisor.MaxGuard) * 11 / 10) // before that nobody promises anything
	end := w.now + time.Duration(float64(faults)*max(0.5, float64(w.unit)/150e6))
	w.plan(end)
	w.schedule()
	w.run(end)
	if w.broken == "" {
		w.peace()
	}
	return w
}

// peace ends all faults and demands that within the bound one fit member serves, and that nothing changes afterwards.
func (w *world) peace() {
	w.heal()
	lasting := w.lasting()
	start, since := w.now, time.Duration(0)
	deadline := start + w.bound()
	drained := start + 3*time.Second + 5*w.unit // what was under way before has come by then
	for w.broken == "" && w.now < deadline && (w.now < drained || since == 0 || w.now-since < 5*w.unit) {
		w.run(w.now + 10*time.Millisecond)
		if len(w.serving()) == 1 {
			if since == 0 {
				since = w.now
			}
		} else {
			since = 0
		}
	}
	if w.broken != "" {
		return
	}
	if len(w.serving()) != 1 {
		w.fail("nobody serves %v after the last fault", w.bound())
		return
	}
	w.stats.recovery = max(w.stats.recovery, since-start)
	epoch, closings, challenges := w.raft.last().Epoch, w.watch.closings, w.watch.challenges
	w.run(w.now + 15*w.unit)
	switch {
	case w.broken != "":
	case w.raft.last().Epoch != epoch:
		w.fail("the role moved at peace, to epoch %d", w.raft.last().Epoch)
	case w.watch.closings != closings:
		w.fail("the address was dropped at peace")
	case w.watch.challenges != challenges && lasting == nil:
		w.fail("the primary was challenged at peace")
	}
}

// lasting leaves, half of the time, one fault that a majority with a fit member can live with.
func (w *world) lasting() *faultKind {
	if w.chance(2) {
		return nil
	}
	names := []string{"host-crash", "freeze", "one-way", "pair-cut", "isolate", "deaf", "mute", "server-dead", "server-draining", "log-stuck"}
	name := names[w.rng.IntN(len(names))]
	for i := range faultKinds {
		if k := &faultKinds[i]; k.name == name {
			x := w.rng.IntN(nodeCount)
			if k.member {
				x = w.rng.IntN(nodeW)
			}
			y := (x + 1 + w.rng.IntN(2)) % nodeCount
			w.note(-1, "LASTING %s %s %s", name, ids[x], ids[y])
			k.begin(w, x, y)
			return k
		}
	}
	panic("no fault " + name)
}

// explain runs a seed again and gives its script and what happened last.
func explain(seed uint64, preset supervisor.Preset, faults time.Duration, keep int) []string {
	w := storm(seed, preset, faults, &trace{keep: keep})
	lines := []string{fmt.Sprintf("seed %d preset %s policy %s fence %s drift %v budget %d in %v",
		seed, preset, w.policy, w.nodes[0].fence, w.timing.Drift, w.budget.Count, w.budget.Per)}
	for _, n := range w.nodes {
		lines = append(lines, fmt.Sprintf("node %s: clock %+d ppm", ids[n.i], n.clock.ppm))
	}
	lines = append(lines, "script:")
	for _, f := range w.script {
		lines = append(lines, f.String())
	}
	lines = append(lines, "trace:")
	return append(lines, w.trace.tail()...)
}
