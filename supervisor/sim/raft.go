package main

import (
	"errors"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// raft is a model of what the core sees of Raft: one committed log, a leader, and news of both that reach each node in order, late.
type raft struct {
	records  []supervisor.Record // after each committed entry; the first is the empty record
	leader   int                 // -1: none
	term     int
	lostAt   time.Duration // since when the leader has no majority
	electAt  time.Duration
	slowDisk bool
}

func newRaft() raft { return raft{records: make([]supervisor.Record, 1), leader: -1} }

var (
	errNoLeader = errors.New("nobody leads")
	errLost     = errors.New("no answer in time")
)

func (r *raft) last() supervisor.Record { return r.records[len(r.records)-1] }
func (r *raft) length() int             { return len(r.records) - 1 }

func (n *node) running() bool { return n.up && !n.frozen }

// voting: Raft can count on the node.
func (n *node) voting() bool { return n.running() && !n.logStuck }

// majority reports whether i runs and reaches another node that runs.
func (w *world) majority(i int) bool {
	if !w.nodes[i].voting() {
		return false
	}
	for j, n := range w.nodes {
		if j != i && n.voting() && w.open(i, j) {
			return true
		}
	}
	return false
}

// raftStart restores a node's store: a snapshot of any age, and no knowledge of what was committed since.
func (w *world) raftStart(n *node) {
	n.leader, n.leaderOff, n.fetching = -1, 0, false
	n.mustReach, n.epochFloor = w.raft.length(), w.raft.last().Epoch
	n.applied = n.stored
	if n.stored > 0 && !w.chance(3) {
		n.applied = w.rng.IntN(n.stored + 1)
	}
	if n.snapshot > 0 {
		n.applied, n.snapshot = n.snapshot, 0
	}
	n.deliver(supervisor.Applied{Record: w.raft.records[n.applied]})
}

// electable: a candidate lacks nothing that is committed and reaches a majority.
func (w *world) electable(i int) bool { return w.majority(i) && w.nodes[i].stored == w.raft.length() }

func (w *world) raftTick() {
	r, t := &w.raft, w.timing
	if r.leader >= 0 {
		switch {
		case w.majority(r.leader):
			r.lostAt = 0
		case r.lostAt == 0:
			r.lostAt = w.now
		case w.now-r.lostAt > t.RaftHeartbeat/2:
			r.leader, r.lostAt, r.electAt = -1, 0, w.now+w.between(t.RaftHeartbeat/2, 3*t.RaftHeartbeat/2)
		}
	} else if w.now >= r.electAt {
		if i := w.rng.IntN(nodeCount); w.electable(i) {
			w.lead(i)
		}
	}
	for _, n := range w.nodes {
		if n.running() {
			w.learnLeader(n)
			w.catchUp(n)
		}
	}
}

func (w *world) lead(i int) {
	w.note(i, "leads raft")
	w.raft.leader, w.raft.lostAt = i, 0
	w.raft.term++
	w.learnLeader(w.nodes[i])
}

// learnLeader tells a node of a new leader soon, and of the loss of one after Raft's own timeouts.
func (w *world) learnLeader(n *node) {
	l, t := w.raft.leader, w.timing
	if l >= 0 && (!w.open(n.i, l) || !w.nodes[l].running()) {
		l = -1
	}
	if l == n.leader {
		n.leaderOff = 0
		return
	}
	if n.leaderOff == 0 {
		n.leaderOff = w.now
	}
	wait := time.Duration(0)
	if l < 0 {
		wait = t.RaftHeartbeat
		if n.leader == n.i {
			wait = t.RaftHeartbeat / 2
		}
	} else if !w.quiet && n.i != l && w.chance(4) {
		return // hears of it later
	}
	if w.now-n.leaderOff < wait {
		return
	}
	n.leader, n.leaderOff = l, 0
	id := supervisor.NodeID("")
	if l >= 0 {
		id = ids[l]
	}
	n.deliver(supervisor.Led{Leader: id})
}

// catchUp brings a node what it lacks, through the leader.
func (w *world) catchUp(n *node) {
	if n.fetching || n.logStuck || w.raft.leader < 0 || !w.open(n.i, w.raft.leader) || !w.nodes[w.raft.leader].running() {
		return
	}
	if n.applied == w.raft.length() && n.mustReach < 0 {
		return
	}
	d := w.upTo(3 * time.Millisecond)
	if n.i != w.raft.leader {
		d += w.delay(w.raft.leader, n.i)
	}
	if !w.quiet && w.chance(10) {
		d += w.upTo(4 * w.unit) // far behind
	}
	n.fetching = true
	n.during(d, func() {
		n.fetching = false
		l := w.raft.leader
		if l < 0 || !w.open(n.i, l) || n.logStuck {
			return
		}
		n.stored = w.raft.length()
		w.apply(n)
	})
}

// apply passes what is stored to the core, in order. It skips states now and then, as a snapshot does.
func (w *world) apply(n *node) {
	for n.applied < n.stored {
		n.applied++
		if n.applied < n.stored && w.chance(3) {
			continue
		}
		n.deliver(supervisor.Applied{Record: w.raft.records[n.applied], Synced: n.applied >= n.mustReach})
		if n.applied >= n.mustReach {
			n.mustReach = -1
		}
	}
	if n.mustReach >= 0 && n.applied >= n.mustReach {
		n.mustReach = -1
		n.deliver(supervisor.Applied{Record: w.raft.records[n.applied], Synced: true})
	}
}

// propose sends an entry to whoever the node thinks leads.
func (w *world) propose(n *node, e supervisor.Entry) {
	w.note(n.i, "proposes %s", entryText(e))
	to := n.leader
	if to < 0 {
		n.during(w.upTo(time.Millisecond), func() { n.deliver(supervisor.Refused{Entry: e, Err: errNoLeader}) })
		return
	}
	if !w.open(n.i, to) || n.logStuck {
		n.during(w.timing.RaftTransport, func() { n.deliver(supervisor.Refused{Entry: e, Err: errLost}) })
		return
	}
	d := w.upTo(100 * time.Microsecond)
	if to != n.i {
		d += w.delay(n.i, to)
	}
	run := n.run
	w.nodes[to].during(d, func() {
		if w.raft.leader != to {
			w.answer(n, run, to, e, errNoLeader)
			return
		}
		w.commitLater(n, run, to, e)
	})
}

// commitLater is the leader's work: two disks and a round trip. A leader that falls meanwhile may leave the entry to its successor.
func (w *world) commitLater(n *node, run, leader int, e supervisor.Entry) {
	d := w.between(500*time.Microsecond, 3*time.Millisecond)
	if w.preset == supervisor.PresetWAN {
		d += w.upTo(100 * time.Millisecond)
	}
	if w.raft.slowDisk {
		d += w.upTo(4 * w.unit)
	}
	term := w.raft.term
	w.after(d, func() {
		if w.raft.leader == leader && w.raft.term == term && w.majority(leader) {
			w.answer(n, run, leader, e, w.commit(e))
			return
		}
		if w.chance(2) {
			w.after(w.upTo(2*time.Second), func() {
				if w.raft.leader >= 0 && w.majority(w.raft.leader) {
					w.commit(e)
				}
			})
		}
	})
}

// commit appends an entry. The leader and one other node have it on disk; the rest learns later.
func (w *world) commit(e supervisor.Entry) error {
	r := &w.raft
	before := r.last()
	after, err := before.Apply(e)
	w.note(r.leader, "commits %s: %v", entryText(e), err)
	if err == nil {
		r.records = append(r.records, after)
		w.committed(before, after, e)
		first := w.rng.IntN(nodeCount)
		for k := range nodeCount {
			if j := (first + k) % nodeCount; j != r.leader && w.nodes[j].voting() && w.open(j, r.leader) {
				w.nodes[j].stored = r.length()
				break
			}
		}
		w.nodes[r.leader].stored = r.length()
		leader := w.nodes[r.leader]
		leader.during(w.upTo(500*time.Microsecond), func() { w.apply(leader) })
		for _, n := range w.nodes {
			if n.running() && n != leader {
				w.catchUp(n)
			}
		}
	}
	return err
}

// answer tells the proposer that its entry did not apply, unless the answer is lost.
func (w *world) answer(n *node, run, from int, e supervisor.Entry, err error) {
	if err == nil || !w.quiet && w.chance(10) {
		return
	}
	w.after(w.delay(from, n.i), func() {
		if n.run == run && w.open(from, n.i) {
			n.deliver(supervisor.Refused{Entry: e, Err: err})
		}
	})
}

func (w *world) electionTime() time.Duration {
	d := w.between(4*time.Millisecond, 12*time.Millisecond)
	if w.preset == supervisor.PresetWAN {
		d += w.between(100*time.Millisecond, 300*time.Millisecond)
	}
	if w.raft.slowDisk {
		d += w.upTo(4 * w.unit)
	}
	return d
}

func (w *world) campaign(n *node) {
	w.note(n.i, "campaigns")
	n.during(w.electionTime(), func() {
		switch {
		case w.electable(n.i):
			w.lead(n.i)
		case w.raft.leader < 0 || !w.majority(w.raft.leader):
			w.raft.leader, w.raft.electAt = -1, w.now+w.upTo(w.timing.RaftHeartbeat/2)
		}
	})
}

func (w *world) transfer(n *node, to int) {
	w.note(n.i, "transfers raft to %s", ids[to])
	w.after(w.electionTime(), func() {
		switch {
		case w.raft.leader != n.i || !w.quiet && w.chance(6):
		case w.electable(to) && w.open(n.i, to):
			w.lead(to)
		case w.chance(2):
			w.raft.leader, w.raft.electAt = -1, w.now+w.upTo(w.timing.RaftHeartbeat)
		}
	})
}
