package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// watchServer begins the sensors of a process: what they say at once, and again and again.
func (n *node) watchServer() {
	run := n.run
	var again func()
	again = func() {
		if n.run == run {
			n.sense()
			n.during(n.w.between(n.w.timing.VantageEvery, 4*n.w.timing.VantageEvery), again)
		}
	}
	n.during(n.w.upTo(5*time.Millisecond), again)
}

// setServer changes the health of the node's SIP server, as its sensors will soon see.
func (n *node) setServer(c supervisor.Class, rs ...supervisor.Reason) {
	n.w.note(n.i, "SIP server %s %v", c, rs)
	n.server, n.reasons = c, rs
	if n.up {
		n.during(n.w.upTo(2*time.Millisecond), n.sense)
	}
}

// sense passes on what the node's sensors see now.
func (n *node) sense() {
	w := n.w
	s := supervisor.Sensed{Members: map[supervisor.NodeID]supervisor.View{}, Service: supervisor.View{Class: w.service(n)}}
	fresh := w.now-n.started < 2*w.timing.ProbeInterval
	if n.i != nodeW {
		s.Reasons = append(s.Reasons, n.reasons...)
		s.Server = supervisor.View{Class: n.server, Busy: n.busy}
		if fresh {
			s.Reasons = append(s.Reasons, supervisor.ReasonServerStart)
			s.Server.Class = supervisor.ClassUnknown
		}
		if n.address.failing {
			s.Reasons = append(s.Reasons, supervisor.ReasonAddress)
		}
	}
	for j, m := range w.nodes[:nodeW] {
		if j == n.i {
			continue
		}
		v := supervisor.View{Class: supervisor.ClassUnknown}
		if w.now-n.started > w.timing.VantageSilence {
			v.Class = supervisor.ClassDead
			if !m.hostDown && m.server != supervisor.ClassDead && w.open(n.i, j) {
				v.Class = m.server
			}
		}
		s.Members[ids[j]] = v
	}
	n.deliver(s)
}

// service is what a node sees of the service address. A lie is a path that is broken for everybody but the primary.
func (w *world) service(n *node) supervisor.Class {
	if w.now-n.started < w.timing.VantageSilence {
		return supervisor.ClassUnknown
	}
	for j, m := range w.nodes[:nodeW] {
		if m.gateOpen() && w.open(n.i, j) && (j == n.i || w.watch.lie != 1+j) {
			return m.server
		}
	}
	return supervisor.ClassDead
}
