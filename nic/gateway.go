package nic

import (
	"fmt"
	"time"
)

// cannotAgain is how long the gateway isn't asked after that turned out to be impossible.
const cannotAgain = 5 * time.Second

// watchGateway begins or ends to ask the gateway, as the interface allows.
func (t *thing) watchGateway(now time.Time) {
	if !t.m.Gateway.IsValid() {
		return
	}
	if !t.damper.verdict {
		t.reach.unknown()
	}
	if !t.damper.verdict || !t.damper.raw || t.link == nil {
		t.reach.stop()
		t.cannot = ""
		return
	}
	switch {
	case !t.link.ether || t.link.flags&(flagNoARP|flagLoopback) != 0:
		t.cannot = t.link.name + " resolves no addresses"
	case !t.from.IsValid():
		t.cannot = t.link.name + " has no IPv6 address to ask from"
	default:
		t.reach.start(now)
		return
	}
	t.reach.stop()
	t.reach.unknown()
}

// ask gives the request that is due now, if one is.
func (t *thing) ask(now time.Time, monitor int) (q question, ask bool) {
	ask, everywhereToo := t.reach.tick(now)
	if !ask {
		return q, false
	}
	q = question{monitor: monitor, link: *t.link, gateway: t.m.Gateway, from: t.from, to: t.mac}
	if everywhereToo || t.mac == [6]byte{} || t.reach.state == ReachSilent {
		q.to = everywhere(t.m.Gateway)
	}
	return q, true
}

// asked takes whether that was possible.
func (t *thing) asked(now time.Time, err error) {
	if err == nil {
		t.cannot = ""
		return
	}
	t.cannot = err.Error()
	t.reach.unknown()
	t.reach.later(now, cannotAgain)
}

func (t *thing) answered(now time.Time, a answer) {
	t.mac = a.mac
	t.reach.answer(now)
}

// gateway gives what is to be said of the gateway now, and whether that is news. Nothing is said before anything is known.
func (t *thing) gateway(now time.Time) (g Gateway, news bool) {
	if !t.m.Gateway.IsValid() || !t.damper.seen {
		return t.gate, false
	}
	g = Gateway{Name: t.m.Name, Link: t.past.name, Address: t.m.Gateway, Reach: t.reach.state, Since: t.gate.Since}
	how := "ARP"
	if g.Address.Is6() {
		how = "neighbour solicitations"
	}
	switch {
	case g.Reach == ReachAnswering:
		g.Text = fmt.Sprintf("gateway %s answers", g.Address)
	case g.Reach == ReachSilent:
		g.Text = fmt.Sprintf("gateway %s has not answered %s for %v", g.Address, how, t.reach.silence())
	case t.cannot != "":
		g.Text = fmt.Sprintf("gateway %s can't be asked: %s", g.Address, t.cannot)
	case !t.damper.verdict:
		g.Text = fmt.Sprintf("gateway %s is not judged while the interface is down", g.Address)
	default:
		return t.gate, false // being asked: what was said last stands until it's known
	}
	if g.Reach != t.gate.Reach || g.Since.IsZero() {
		g.Since = now
	}
	if g == t.gate {
		return g, false
	}
	t.gate = g
	return g, true
}
