package nic

import (
	"net/netip"
	"time"
)

// thing is one monitor with what is known of it. It turns sights and the passing of time into reports; it doesn't look itself.
type thing struct {
	m    Monitor
	past past

	damper damper
	raw    string // why the interface is as it is at the moment
	broken string // why it was down when it last was
	flaps  string // what is said while it flaps, fixed when that began
	told   State
	again  time.Time // the last look was disturbed: look again then

	link   *link
	from   netip.Addr
	reach  reach
	mac    [6]byte // of the gateway; zero: not known
	cannot string  // why the gateway can't be asked
	gate   Gateway // as last told
}

func newThing(m Monitor) *thing {
	return &thing{m: m, damper: damper{down: m.DebounceDown, up: m.DebounceUp}, reach: reach{period: m.GatewayPeriod, fall: m.GatewayFall}}
}

// concerns reports whether events are a reason to look. A monitor whose interface isn't there looks whenever it may have come.
func (t *thing) concerns(e touched) bool {
	switch {
	case e.all:
		return true
	case t.m.Address.IsValid() && e.addrs[t.m.Address]:
		return true
	case t.past.index != 0 && (e.links[t.past.index] || t.m.Gateway.IsValid() && e.at[t.past.index]):
		return true
	}
	return t.m.Link != "" && t.link == nil && len(e.links) > 0
}

// sees takes what a look showed.
func (t *thing) sees(now time.Time, s sight) {
	t.again = time.Time{}
	if s.again {
		t.again = now.Add(again)
	}
	up, why := judge(t.m, t.past, s)
	t.link, t.from, t.raw = s.link, s.from, why
	if s.link != nil {
		t.past = past{s.link.index, s.link.name, t.past.had || s.carries != carriesNot}
	} else if s.old != nil && t.m.Link == "" {
		t.past.name = s.old.name
	}
	if !up {
		t.broken = why
	}
	was := t.damper.flapping
	if up || s.link.lacksCarrier() {
		t.damper.see(now, up)
	} else {
		t.damper.fail(now)
	}
	if t.damper.flapping && !was {
		t.flaps = t.past.name + " flaps: " + t.broken
	}
}

// state gives what is to be said of the interface now, and whether that is news.
func (t *thing) state() (s State, news bool) {
	d := &t.damper
	if !d.seen {
		return t.told, false
	}
	s = State{
		Name: t.m.Name, Link: t.past.name, Address: t.m.Address, Up: d.verdict, Text: t.raw, Flapping: d.flapping, Found: t.past.index != 0, Since: d.since,
	}
	switch {
	case d.flapping:
		s.Text = t.flaps
	case d.verdict != d.raw:
		s.Text = t.told.Text // it's not yet told that it is down
	}
	before := t.told
	before.Since = s.Since
	if before == s {
		return s, false
	}
	t.told = s
	return s, true
}

// next gives when time has to be told of its passing; zero: never.
func (t *thing) next() time.Time { return earlier(earlier(t.damper.next(), t.again), t.reach.next()) }
