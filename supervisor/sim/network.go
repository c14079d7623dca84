package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// link is one direction between two nodes.
type link struct {
	cut  bool
	loss int           // percent
	lag  time.Duration // added to every datagram
	base time.Duration // the wire's own delay
}

// network carries lease datagrams. Each may be lost, late, doubled; later ones may overtake it.
//
// It keeps one promise, the one that the transport's session keys give: a datagram reaches only the run of the receiver that it was
// sealed for, and none of a sender's earlier run arrives after one of a later run.
type network struct {
	links  [nodeCount][nodeCount]link
	newest [nodeCount][nodeCount]int // run of the sender whose datagrams the receiver takes
}

func (n *network) init(w *world) {
	for i := range n.links {
		for j := range n.links[i] {
			n.links[i][j].base = w.between(20*time.Microsecond, 400*time.Microsecond)
			if w.preset == supervisor.PresetWAN {
				n.links[i][j].base = w.between(5*time.Millisecond, 45*time.Millisecond)
			}
		}
	}
}

// open reports whether a connection works between two hosts: it needs both directions.
func (w *world) open(i, j int) bool {
	return i == j || !w.net.links[i][j].cut && !w.net.links[j][i].cut
}

// delay is how long something takes from i to j.
func (w *world) delay(i, j int) time.Duration {
	l := &w.net.links[i][j]
	d := l.base + w.upTo(l.base)
	if w.quiet {
		return d
	}
	d += l.lag
	switch {
	case w.chance(1000):
		d += w.upTo(3 * time.Second)
	case w.chance(60):
		d += w.upTo(w.unit / 2)
	}
	return d
}

// send carries a lease message from i to j.
func (w *world) send(i, j int, m supervisor.Message) {
	w.note(i, "-> %s %s epoch %d seq %d wait %v", ids[j], m.Kind, m.Epoch, m.Seq, m.Wait)
	if m.Kind == supervisor.KindRenew || m.Kind == supervisor.KindProbe {
		w.asked(w.nodes[i])
	}
	if w.streams[i][j].keyed != [2]int{w.nodes[i].run, w.nodes[j].run} {
		return // no session between these two runs yet
	}
	times := 1
	if !w.quiet && w.chance(80) {
		times = 2
	}
	for range times {
		l := &w.net.links[i][j]
		if l.cut || w.rng.IntN(100) < l.loss || !w.quiet && w.chance(150) {
			continue
		}
		from, to := w.nodes[i].run, w.nodes[j].run
		w.after(w.delay(i, j), func() { w.arrive(i, j, from, to, m) })
	}
}

func (w *world) arrive(i, j, from, to int, m supervisor.Message) {
	if w.net.links[i][j].cut || w.nodes[j].run != to || from < w.net.newest[i][j] {
		return
	}
	w.net.newest[i][j] = from
	w.nodes[j].deliver(supervisor.Received{From: ids[i], Message: m})
}
