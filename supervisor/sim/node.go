package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// node is one host: its clock and its SIP server, and the process with the core, which may be down or frozen.
type node struct {
	w     *world
	i     int
	clock clock
	fence supervisor.Fence

	run      int // number of the process's life; a new one knows nothing of the one before
	up       bool
	hostDown bool
	frozen   bool
	core     *supervisor.Core
	inbox    []supervisor.Event
	pending  []supervisor.Action // of a step, not carried out yet
	stalled  bool
	wake     uint64
	crashIn  int // actions until it crashes in the middle of a step; -1: never
	freezeIn int
	thaw     []func() // what its own goroutines would have done while frozen

	address effector
	server  supervisor.Class
	busy    bool // its server answers, but not everybody in time
	reasons []supervisor.Reason
	started time.Duration
	report  *supervisor.Report
	askedAt time.Duration // start of a window of one renewal's length, and the questions sent in it
	asked   int

	stored, applied, mustReach int // lengths of the Raft log: on disk, applied, committed when it started
	fetching                   bool
	snapshot                   int  // its next start begins from this record; 0: from any
	logStuck                   bool // its Raft connections hang, its datagrams pass
	leader                     int
	leaderOff                  time.Duration // since when the leader it knows of is not the one there is
	epochFloor                 supervisor.Epoch
	lastEpoch                  supervisor.Epoch
}

func (w *world) newNode(i int, fence supervisor.Fence, fixed bool) *node {
	n := &node{w: w, i: i, fence: fence, crashIn: -1, freezeIn: -1, server: supervisor.ClassServing, leader: -1}
	if !fixed {
		bound := int64(w.timing.Drift*1e6) - 1
		switch w.rng.IntN(4) {
		case 0:
			n.clock.ppm = bound
		case 1:
			n.clock.ppm = -bound
		case 2:
			n.clock.ppm = w.rng.Int64N(2*bound+1) - bound
		}
		n.clock.wall = w.between(-2*time.Second, 2*time.Second)
		n.setOrigin()
	}
	return n
}

// setOrigin gives the raw monotonic clock the origin of a boot: long ago or just now.
func (n *node) setOrigin() {
	n.clock.offset = 0
	at := n.clock.local(n.w.now)
	n.clock.offset = -at
	if !n.w.chance(4) {
		n.clock.offset += n.w.upTo(1000 * time.Hour)
	}
}

// start begins a new life of the process.
func (n *node) start() {
	w := n.w
	n.run++
	n.up, n.hostDown, n.frozen, n.stalled = true, false, false, false
	n.inbox, n.pending, n.thaw, n.report = nil, nil, nil, nil
	n.crashIn, n.freezeIn = -1, -1
	n.address.want, n.address.busy, n.address.serial = nil, false, 0
	n.started = w.now
	n.core = supervisor.New(supervisor.Options{
		Self: ids[n.i], Boot: uint64(n.run), Timing: w.timing, OnQuorumLoss: w.policy, Budget: w.budget, Fence: n.fence,
		Nodes: []supervisor.Node{{ID: "a"}, {ID: "b"}, {ID: "w", Witness: true}},
	}, n.clock.now(w.now))
	n.lastEpoch = 0
	w.note(n.i, "starts, run %d", n.run)
	if n.gateOpen() && w.chance(2) {
		n.during(w.upTo(20*time.Millisecond), n.shut) // the new process cleans up, or finds the kernel was first
	}
	w.raftStart(n)
	n.deliver(supervisor.Tick{})
	n.watchServer()
}

// crash ends the process; with its host, the address is gone too.
func (n *node) crash(host bool) {
	if !n.up {
		return
	}
	n.w.note(n.i, "crashes, host %v", host)
	n.up, n.hostDown, n.core = false, host, nil
	n.inbox, n.pending, n.thaw = nil, nil, nil
	n.run++ // what was under way for this life finds another
	if host {
		n.shut()
		n.setOrigin()
	}
}

// during has do happen later, in this life of the process, and only while it runs.
func (n *node) during(d time.Duration, do func()) {
	run := n.run
	n.w.after(d, func() {
		switch {
		case n.run != run || !n.up:
		case n.frozen:
			n.thaw = append(n.thaw, do)
		default:
			do()
		}
	})
}

func (n *node) freeze() {
	if n.up && !n.frozen {
		n.w.note(n.i, "freezes")
		n.frozen = true
	}
}

// resume lets the goroutines run on in any order, then the core's loop.
func (n *node) resume() {
	if !n.up || !n.frozen {
		return
	}
	n.w.note(n.i, "resumes")
	n.frozen = false
	late := n.thaw
	n.thaw = nil
	loopFirst := n.w.chance(2)
	if loopFirst {
		n.pump()
	}
	for _, do := range late {
		switch {
		case !n.up:
			return
		case n.frozen: // again
			n.thaw = append(n.thaw, do)
		default:
			do()
		}
	}
	n.pump()
}

// deliver queues an event for the core. A frozen process finds what its sockets could buffer.
func (n *node) deliver(ev supervisor.Event) {
	if !n.up {
		return
	}
	if _, ok := ev.(supervisor.Received); ok && len(n.inbox) > 400 {
		return
	}
	n.inbox = append(n.inbox, ev)
	n.pump()
}

// pump is the Runner's loop: one event, then all its actions, then the next.
func (n *node) pump() {
	for n.up && !n.frozen && !n.stalled && n.w.broken == "" {
		if len(n.pending) > 0 {
			if n.interrupted() {
				return
			}
			a := n.pending[0]
			n.pending = n.pending[1:]
			n.carry(a)
			continue
		}
		if len(n.inbox) == 0 {
			return
		}
		ev := n.inbox[0]
		n.inbox = n.inbox[1:]
		n.step(ev)
	}
}

// interrupted is what may happen between two actions. A crash loses the rest, everything else delays it.
func (n *node) interrupted() bool {
	if n.crashIn == 0 {
		n.crash(n.w.chance(2))
		return true
	}
	if n.freezeIn == 0 {
		n.freezeIn = -1
		n.freeze()
		n.w.after(n.w.upTo(4*n.w.unit), n.resume)
		return true
	}
	n.crashIn, n.freezeIn = max(-1, n.crashIn-1), max(-1, n.freezeIn-1)
	return false
}

// step shows the core one event.
func (n *node) step(ev supervisor.Event) {
	w := n.w
	w.stats.steps++
	now := n.clock.now(w.now)
	w.noteEvent(n.i, ev)
	n.pending = n.core.Step(now, ev)
	if n.core.State() == supervisor.Serving && n.core.LeaseLeft(now.Mono) == 0 {
		w.fail("%s goes on serving without a lease", ids[n.i])
	}
	if !w.quiet && w.chance(400) { // the scheduler takes the processor away
		n.stalled = true
		d := w.upTo(time.Millisecond)
		if w.chance(8) {
			d = w.upTo(w.unit)
		}
		n.during(d, func() { n.stalled = false; n.pump() })
	}
	n.wake++
	mine := n.wake
	d := n.clock.global(n.core.Next()) - w.now
	if !w.quiet && w.chance(20) {
		d += w.upTo(5 * time.Millisecond)
	}
	n.during(d+w.upTo(50*time.Microsecond), func() {
		if n.wake != mine {
			return
		}
		if w.chance(2) {
			n.deliver(supervisor.Tick{})
			return
		}
		n.inbox = append([]supervisor.Event{supervisor.Tick{}}, n.inbox...) // the timer wins against what waits
		n.pump()
	})
}

// carry does one action.
func (n *node) carry(a supervisor.Action) {
	switch a := a.(type) {
	case supervisor.Send:
		n.w.send(n.i, indexOf(a.To), a.Message)
	case supervisor.Hold:
		n.hold(a)
	case supervisor.Propose:
		n.w.propose(n, a.Entry)
	case supervisor.Campaign:
		n.w.campaign(n)
	case supervisor.Transfer:
		n.w.transfer(n, indexOf(a.To))
	case supervisor.Tell:
		n.w.tell(n.i, a.Report)
	case supervisor.Became:
		n.w.became(n, a)
	}
}
