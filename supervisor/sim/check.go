package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// watch is what the invariants remember.
type watch struct {
	lie     int              // 1+index of the member whose service address nobody else reaches
	opened  supervisor.Epoch // newest epoch for which a gate was opened
	primary []supervisor.NodeID
	wasOpen [nodeCount]bool

	closedAt, openedAt time.Duration // last moments
	closings           int           // of gates
	challenges         int
}

// check holds the world to the invariants. It runs after every event.
func (w *world) check() {
	leases, gates := 0, 0
	for _, n := range w.nodes {
		open := n.gateOpen()
		if open {
			gates++
		} else if w.watch.wasOpen[n.i] {
			w.watch.closings++
		}
		w.watch.wasOpen[n.i] = open
		if !n.up {
			continue
		}
		c := n.core
		if c.State() == supervisor.Serving && c.LeaseLeft(n.clock.local(w.now)) > 0 {
			leases++
			if n.i == nodeW {
				w.fail("the witness holds the role")
			}
		}
		e := c.Record().Epoch
		if e < n.lastEpoch {
			w.fail("%s went back from epoch %d to %d", ids[n.i], n.lastEpoch, e)
		}
		n.lastEpoch = e
		if c.State() != supervisor.Starting && e < n.epochFloor {
			w.fail("%s votes with epoch %d, but %d was committed before it started", ids[n.i], e, n.epochFloor)
		}
	}
	if leases > 1 {
		w.fail("two leases at one moment")
	}
	if gates > 1 && w.policy == supervisor.Demote {
		w.fail("two nodes hold the address at one moment")
	}
}

// asked counts renewals and probes: nothing may make a node ask much more often than every Renew.
func (w *world) asked(n *node) {
	if w.now-n.askedAt > w.timing.Renew {
		n.askedAt, n.asked = w.now, 0
	}
	if n.asked++; n.asked > 40 {
		w.fail("%s floods the others: %d renewals and probes within %v", ids[n.i], n.asked, w.timing.Renew)
	}
}

// opened is called when a closed gate opens.
func (w *world) opened(n *node, h supervisor.Hold) {
	w.note(n.i, "gate open, epoch %d, for %v", h.Epoch, h.Until-n.clock.local(w.now))
	w.watch.openedAt = w.now
	if n.i == nodeW {
		w.fail("the witness holds the address")
	}
	if int(h.Epoch) >= len(w.raft.records) && h.Epoch > w.raft.last().Epoch {
		w.fail("%s holds the address for epoch %d, which was never committed", ids[n.i], h.Epoch)
	} else if p := w.watch.primary[h.Epoch-1]; p != ids[n.i] {
		w.fail("%s holds the address for epoch %d of %s", ids[n.i], h.Epoch, p)
	}
	if h.Epoch < w.watch.opened && w.policy == supervisor.Demote {
		w.fail("%s holds the address for epoch %d after epoch %d was served", ids[n.i], h.Epoch, w.watch.opened)
	}
	w.watch.opened = max(w.watch.opened, h.Epoch)
}

// committed checks what the record's own rules promise, with arithmetic of its own.
func (w *world) committed(before, after supervisor.Record, e supervisor.Entry) {
	r := e.Role
	if r == nil {
		return
	}
	w.stats.switchovers[r.Trigger]++
	if after.Epoch != before.Epoch+1 {
		w.fail("epoch %d was committed on top of %d", after.Epoch, before.Epoch)
		return
	}
	w.watch.primary = append(w.watch.primary, r.To)
	at := after.Since
	if at.Before(before.Since) {
		w.fail("the history goes back in time")
	}
	auto := func(t supervisor.Trigger) bool {
		return t != supervisor.TriggerFirst && t != supervisor.TriggerOperator && t != supervisor.TriggerLeave
	}
	if auto(r.Trigger) && r.To != before.Primary && at.Before(before.Paused.Until) {
		w.fail("%s moved the role in a pause", r.Trigger)
	}
	judged := r.Trigger == supervisor.TriggerPath || r.Trigger == supervisor.TriggerAddress // a dead interface is no judgement
	spent := 0
	for _, h := range before.History {
		if auto(h.Trigger) && h.From != h.To && at.Sub(h.At) < w.budget.Per {
			spent++
		}
	}
	if judged && spent >= w.budget.Count {
		w.fail("a judged switchover beyond the budget of %d in %v", w.budget.Count, w.budget.Per)
	}
	if len(after.History) > supervisor.HistoryLimit {
		w.fail("the history is not bounded")
	}
}

// became notes a change of state.
func (w *world) became(n *node, b supervisor.Became) {
	w.note(n.i, "%s -> %s, epoch %d of %s: %s", b.From, b.To, b.Epoch, b.Primary, b.Why)
	if b.To == supervisor.Challenging {
		w.watch.challenges++
	}
}

// serving lists the nodes that serve: a running lease, an open gate, a live server (one that drains is left in place).
func (w *world) serving() []int {
	var at []int
	for _, n := range w.nodes {
		if n.up && !n.frozen && n.gateOpen() && n.core.State() == supervisor.Serving && n.server != supervisor.ClassDead {
			at = append(at, n.i)
		}
	}
	return at
}

// bound is how long a world at peace may take until somebody serves: the wait of a restarted voter, which may have promised for the
// weakest fence; streams and two elections of Raft; the first choice or an orphaned epoch; the old promise.
func (w *world) bound() time.Duration {
	t := w.timing
	restart := time.Duration(float64(t.Promise(supervisor.MaxGuard)) * (1 + 2*t.Drift))
	streams := 2*t.RaftTransport + 250*time.Millisecond
	elections := 4 * t.RaftHeartbeat
	choice := 4*t.Report + 10*t.Suspect + time.Second
	return restart + streams + elections + choice + t.Promise(w.nodes[0].fence.Guard())
}
