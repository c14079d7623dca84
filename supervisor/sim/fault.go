package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// fault is one thing that goes wrong, or one order of an operator, for a while.
type fault struct {
	at, for_ time.Duration
	kind     *faultKind
	primary  bool // strikes the primary of that moment instead of x
	x, turn  int  // the node, and how far away the other one is
}

func (f fault) String() string {
	x := string(ids[f.x])
	if f.primary {
		x = "primary"
	}
	return fmt.Sprintf("%12s for %-10s %-16s %s +%d", f.at.Round(time.Microsecond), f.for_.Round(time.Microsecond), f.kind.name, x, f.turn)
}

// faultKind is a fault by name. begin and end get two different nodes; x is a member if the fault is one of members.
type faultKind struct {
	name   string
	weight int
	member bool
	begin  func(w *world, x, y int)
	end    func(w *world, x, y int)
}

func (w *world) cut(x, y int, cut bool) { w.net.links[x][y].cut = cut }

func cutAll(deaf, mute bool) func(cut bool) func(*world, int, int) {
	return func(cut bool) func(*world, int, int) {
		return func(w *world, x, _ int) {
			for j := range w.nodes {
				if j != x && deaf {
					w.cut(j, x, cut)
				}
				if j != x && mute {
					w.cut(x, j, cut)
				}
			}
		}
	}
}

func clearLink(w *world, x, y int) { w.net.links[x][y].loss, w.net.links[x][y].lag = 0, 0 }

// lagAround makes everything late that a node gets or sends.
func lagAround(in, out bool) func(*world, int, int) {
	return func(w *world, x, _ int) {
		d := w.upTo(2 * w.unit)
		for j := range w.nodes {
			if j != x && in {
				w.net.links[j][x].lag = d
			}
			if j != x && out {
				w.net.links[x][j].lag = d
			}
		}
	}
}

func clearAround(w *world, x, _ int) {
	for j := range w.nodes {
		if j != x {
			clearLink(w, x, j)
			clearLink(w, j, x)
		}
	}
}

func onNode(f func(n *node)) func(*world, int, int) {
	return func(w *world, x, _ int) { f(w.nodes[x]) }
}

func server(c supervisor.Class, rs ...supervisor.Reason) func(*world, int, int) {
	return onNode(func(n *node) { n.setServer(c, rs...) })
}

func restart(n *node) {
	if !n.up {
		n.start()
	}
}

var (
	isolate = cutAll(true, true)
	deafen  = cutAll(true, false)
	mute    = cutAll(false, true)
	healthy = server(supervisor.ClassServing)
	nothing = func(*world, int, int) {}
)

var faultKinds = []faultKind{
	{"crash", 3, false, onNode(func(n *node) { n.crash(false) }), onNode(restart)},
	{"host-crash", 2, false, onNode(func(n *node) { n.crash(true) }), onNode(restart)},
	{"crash-mid-step", 4, false, onNode(func(n *node) { n.crashIn = n.w.rng.IntN(8) }), onNode(restart)},
	{"freeze", 3, false, onNode((*node).freeze), onNode((*node).resume)},
	{"freeze-mid-step", 3, false, onNode(func(n *node) { n.freezeIn = n.w.rng.IntN(8) }), nothing},
	{"one-way", 5, false, func(w *world, x, y int) { w.cut(x, y, true) }, func(w *world, x, y int) { w.cut(x, y, false) }},
	{"pair-cut", 4, false,
		func(w *world, x, y int) { w.cut(x, y, true); w.cut(y, x, true) },
		func(w *world, x, y int) { w.cut(x, y, false); w.cut(y, x, false) }},
	{"isolate", 4, false, isolate(true), isolate(false)},
	{"deaf", 3, false, deafen(true), deafen(false)},
	{"mute", 3, false, mute(true), mute(false)},
	{"lossy", 3, false, func(w *world, x, y int) { w.net.links[x][y].loss = 10 + w.rng.IntN(80) }, clearLink},
	{"lag", 2, false, func(w *world, x, y int) { w.net.links[x][y].lag = w.upTo(2 * w.unit) }, clearLink},
	{"lag-in", 3, false, lagAround(true, false), clearAround},
	{"lag-out", 2, false, lagAround(false, true), clearAround},
	{"server-dead", 4, true, server(supervisor.ClassDead, supervisor.ReasonServerDead), healthy},
	{"server-hung", 2, true, server(supervisor.ClassDead, supervisor.ReasonServerHung), healthy},
	{"server-draining", 1, true, server(supervisor.ClassDraining, supervisor.ReasonServerDrain), healthy},
	{"nic", 3, true, server(supervisor.ClassDead, supervisor.ReasonNIC), healthy},
	{"path-dead", 2, true, func(w *world, x, _ int) { w.watch.lie = 1 + x }, func(w *world, _, _ int) { w.watch.lie = 0 }},
	{"effector-slow", 3, true, onNode(func(n *node) { n.address.slow = true }), onNode(func(n *node) { n.address.slow = false })},
	{"effector-failing", 2, true, onNode(func(n *node) { n.address.failing = true }), onNode(func(n *node) { n.address.failing = false })},
	{"slow-disk", 2, false, func(w *world, _, _ int) { w.raft.slowDisk = true }, func(w *world, _, _ int) { w.raft.slowDisk = false }},
	{"log-stuck", 5, false, onNode(func(n *node) { n.logStuck = true }), onNode(func(n *node) { n.logStuck = false })},
	{"no-leader", 2, false, func(w *world, _, _ int) { w.raft.leader, w.raft.electAt = -1, w.now+w.upTo(2*w.timing.RaftHeartbeat) }, nothing},
	{"stream-break", 3, false, func(w *world, x, y int) { w.breakStream(x, y) }, nothing},
	{"wall-jump", 1, false, onNode(func(n *node) { n.clock.wall += n.w.between(-20*time.Second, 20*time.Second) }), nothing},
	{"switchover", 8, false, onNode(order), nothing},
	{"pause", 2, false, func(w *world, x, _ int) { w.pause(x) }, func(w *world, x, _ int) { w.propose(w.nodes[x], supervisor.Entry{Resume: true}) }},
	{"leave", 3, true, onNode(leave), onNode(func(n *node) { n.crash(false); restart(n) })},
}

// order is an operator who asks for a switchover at a node.
func order(n *node) {
	if !n.running() {
		return
	}
	if e, err := n.core.PlanSwitchover(n.clock.now(n.w.now), "", "test", "operator"); err == nil {
		n.w.propose(n, e)
	}
}

func (w *world) pause(x int) {
	n := w.nodes[x]
	at := n.clock.now(w.now).Wall
	w.propose(n, supervisor.Entry{Pause: &supervisor.PauseEntry{At: at,
		Pause: supervisor.Pause{Until: at.Add(w.upTo(5 * time.Second)), Reason: "test", By: "operator"}}})
}

// leave is an operator who stops a sidecar. It gets as long as the fault lasts.
func leave(n *node) {
	if n.up {
		n.deliver(supervisor.Leave{})
	}
}

// plan draws the faults of a seed. Each seed knows only some kinds of faults, so that rare combinations come up often; half of the
// faults strike whoever is primary then.
func (w *world) plan(until time.Duration) {
	var kinds []*faultKind
	for i := range faultKinds {
		if w.chance(2) || faultKinds[i].name == "switchover" {
			for range faultKinds[i].weight {
				kinds = append(kinds, &faultKinds[i])
			}
		}
	}
	often := w.unit * time.Duration(1+w.rng.IntN(12)) / 4
	longest := w.rng.IntN(7)
	for at := w.now; ; {
		at += w.upTo(2 * often)
		if at >= until {
			return
		}
		f := fault{at: at, for_: w.upTo(w.unit << w.rng.IntN(longest+1)), kind: kinds[w.rng.IntN(len(kinds))], primary: w.chance(2)}
		f.x = w.rng.IntN(nodeCount)
		if f.kind.member {
			f.x = w.rng.IntN(nodeW)
		}
		f.turn = 1 + w.rng.IntN(2)
		w.script = append(w.script, f)
	}
}

// schedule has the script happen.
func (w *world) schedule() {
	for _, f := range w.script {
		w.after(f.at-w.now, func() {
			x := f.x
			if p := indexOf(w.raft.last().Primary); f.primary && p >= 0 {
				x = p
			}
			y := (x + f.turn) % nodeCount
			w.note(-1, "FAULT %s %s %s", f.kind.name, ids[x], ids[y])
			w.stats.faults[f.kind.name]++
			f.kind.begin(w, x, y)
			w.after(f.for_, func() {
				if w.quiet {
					return // peace has ended them all
				}
				w.note(-1, "END   %s %s %s", f.kind.name, ids[x], ids[y])
				f.kind.end(w, x, y)
			})
		})
	}
}

// heal ends every fault and starts what is down.
func (w *world) heal() {
	w.note(-1, "HEAL")
	w.quiet, w.raft.slowDisk, w.watch.lie = true, false, 0
	for i, n := range w.nodes {
		for j := range w.nodes {
			l := &w.net.links[i][j]
			l.cut, l.loss, l.lag = false, 0, 0
		}
		n.address.slow, n.address.failing, n.logStuck = false, false, false
		n.crashIn, n.freezeIn = -1, -1
		if n.server != supervisor.ClassServing {
			n.setServer(supervisor.ClassServing)
		}
		n.resume()
		if n.up && slices.Contains(n.core.Report().Reasons, supervisor.ReasonLeaving) {
			n.crash(false)
		}
		restart(n)
	}
	w.every(100*time.Millisecond, func() {
		if w.raft.leader >= 0 && w.majority(w.raft.leader) && !w.raft.last().Paused.Until.IsZero() {
			w.commit(supervisor.Entry{Resume: true})
		}
	})
}
