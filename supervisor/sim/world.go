package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// The nodes by index.
const (
	nodeA = iota
	nodeB
	nodeW
	nodeCount
)

var ids = [nodeCount]supervisor.NodeID{"a", "b", "w"}

func indexOf(id supervisor.NodeID) int {
	for i, n := range ids {
		if n == id {
			return i
		}
	}
	return -1
}

// world is everything there is: three nodes, what lies between them and what goes wrong.
type world struct {
	seed   uint64
	rng    *rand.Rand
	preset supervisor.Preset
	timing supervisor.Timing
	budget supervisor.Budget
	policy supervisor.QuorumLoss
	unit   time.Duration // scale of the faults: the preset's lease

	now    time.Duration
	queue  events
	seq    uint64
	quiet  bool // no loss, small delays, truthful views
	broken string

	nodes   [nodeCount]*node
	net     network
	streams [nodeCount][nodeCount]stream
	raft    raft
	watch   watch
	script  []fault
	trace   *trace
	stats   stats
}

// newWorld makes a world at time zero with all nodes running and no faults. A fixed world has the plain preset, exact clocks, and a
// kernel fence; a seed's own world varies them.
func newWorld(seed uint64, preset supervisor.Preset, fixed bool, tr *trace) *world {
	t, err := preset.Timing()
	if err != nil {
		panic(err)
	}
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5eed)), preset: preset, timing: t,
		budget: supervisor.Budget{Count: 3, Per: time.Hour}, policy: supervisor.Demote, unit: t.Lease,
		trace: tr, quiet: fixed,
	}
	w.raft = newRaft()
	fence := supervisor.FenceNftables
	if !fixed {
		switch w.rng.IntN(10) {
		case 0:
			w.policy = supervisor.Cling
		case 1, 2:
			fence = supervisor.FenceLifetime
		case 3, 4, 5:
			w.timing.Drift = 0.05 // a bound so wide that forgetting it shows
		}
		w.budget.Count = 1 + w.rng.IntN(5)
		w.budget.Per = w.upTo(20 * time.Second)
	}
	w.net.init(w)
	for i := range w.nodes {
		w.nodes[i] = w.newNode(i, fence, fixed)
	}
	for i := range w.nodes {
		w.nodes[i].start()
	}
	w.every(10*time.Millisecond, w.raftTick)
	w.every(20*time.Millisecond, w.streamTick)
	return w
}

// every has do happen again and again.
func (w *world) every(d time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		w.after(d, again)
	}
	w.after(d, again)
}

// chance is true once in n.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// upTo is a random time in (0, d].
func (w *world) upTo(d time.Duration) time.Duration { return 1 + time.Duration(w.rng.Int64N(int64(d))) }

// between is a random time in [a, b).
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// fail notes that an invariant is broken; the run ends there.
func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
		w.note(-1, "VIOLATION %s", w.broken)
	}
}
