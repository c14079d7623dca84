package main

import (
	"errors"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// effector is a node's hands on the service address, and the kernel's gate in front of it. The effector lives and dies with the
// process; the gate closes at its moment whatever the process does.
type effector struct {
	want    []supervisor.Hold // not carried out yet, oldest first
	busy    bool
	serial  uint64
	openTo  time.Duration // global moment at which the kernel closes the gate
	epoch   supervisor.Epoch
	slow    bool
	failing bool
}

var errAddress = errors.New("the address can't be put up")

func (n *node) gateOpen() bool { return n.w.now < n.address.openTo }

// hold hands a wish to the effector.
func (n *node) hold(h supervisor.Hold) {
	n.w.note(n.i, "hold %v epoch %d serial %d for %v", h.Held, h.Epoch, h.Serial, h.Until-n.clock.local(n.w.now))
	n.address.want = append(n.address.want, h)
	n.work()
}

// work carries out the oldest wish, after a while.
func (n *node) work() {
	e, w := &n.address, n.w
	if e.busy || len(e.want) == 0 {
		return
	}
	e.busy = true
	d := w.upTo(300 * time.Microsecond)
	if e.want[0].Serial == e.serial {
		d = w.upTo(30 * time.Microsecond) // only the deadline moves
	} else if e.slow {
		d = w.upTo(2 * w.unit)
	}
	n.during(d, func() {
		h := e.want[0]
		if len(e.want) > 1 && w.chance(2) { // the newest wins: older ones need not be done
			h = e.want[len(e.want)-1]
			e.want = e.want[:1]
		}
		e.want = e.want[1:]
		e.busy = false
		n.carryOut(h)
		n.work()
	})
}

func (n *node) carryOut(h supervisor.Hold) {
	e, w := &n.address, n.w
	fresh := h.Serial != e.serial
	e.serial = h.Serial
	if !h.Held {
		n.shut()
		n.say(supervisor.AddressReport{Serial: h.Serial, Epoch: h.Epoch})
		return
	}
	if e.failing {
		if fresh {
			n.say(supervisor.AddressReport{Held: n.gateOpen(), Serial: h.Serial, Epoch: h.Epoch, Err: errAddress})
		}
		return
	}
	until := n.clock.global(h.Until)
	if n.fence == supervisor.FenceLifetime {
		until = n.clock.global(h.Until + w.upTo(2*time.Second)) // valid_lft counts in seconds
	}
	if until <= w.now {
		return
	}
	if !n.gateOpen() {
		w.opened(n, h)
	}
	e.openTo, e.epoch = until, h.Epoch
	if fresh {
		n.say(supervisor.AddressReport{Held: true, Serial: h.Serial, Epoch: h.Epoch})
	}
}

func (n *node) shut() {
	if n.gateOpen() {
		n.w.note(n.i, "gate closed, epoch %d", n.address.epoch)
		n.w.watch.closedAt = n.w.now
	}
	n.address.openTo = min(n.address.openTo, n.w.now)
}

// say passes the effector's word to the core, after a while.
func (n *node) say(r supervisor.AddressReport) {
	n.during(n.w.upTo(200*time.Microsecond), func() { n.deliver(supervisor.AddressIs{AddressReport: r}) })
}
