package nic

import "time"

// An interface flaps when it changes flapChanges times within flapWindow.
const (
	flapChanges = 3
	flapWindow  = 10 * time.Second
)

// damper makes a verdict of what an interface is from moment to moment. It has no clock: see tells it of an observation, tick of the
// passing of time, and next says when it wants to be told of that.
//
// Invariants: the verdict becomes false only when the interface has been down for DebounceDown, or failed for good; it becomes true while
// flapping only after hold without a change.
type damper struct {
	down, up time.Duration // as in Monitor

	seen     bool // an observation was made
	raw      bool // the last one
	verdict  bool
	flapping bool
	since    time.Time // of the verdict

	changes  [flapChanges]time.Time // the last changes of raw, the oldest first
	hold     time.Duration          // for how long it must be up while it flaps
	released time.Time              // when it last was up for that long
	downDue  time.Time              // when the verdict becomes false; zero: not planned
	upDue    time.Time              // when it becomes true and the flapping ends
	calmDue  time.Time              // when the flapping ends because nothing changed any more
}

// see takes an observation. Time that has passed since next takes effect first.
func (d *damper) see(now time.Time, up bool) {
	d.tick(now)
	switch {
	case !d.seen:
		d.seen, d.raw = true, up
		d.decide(now, up)
		return
	case up == d.raw:
		return
	}
	d.raw = up
	d.count(now)
	if up {
		d.downDue = time.Time{} // whoever allows for losses that short, allows for many
		if d.flapping {
			d.upDue = now.Add(d.hold)
			return
		}
		d.decide(now, true)
		return
	}
	d.upDue = time.Time{}
	if d.verdict && d.downDue.IsZero() {
		d.downDue = now.Add(d.down)
	}
	d.tick(now)
}

// fail takes an observation of what is no matter of time: it counts at once.
func (d *damper) fail(now time.Time) {
	d.see(now, false)
	if !d.downDue.IsZero() {
		d.downDue = now
		d.tick(now)
	}
}

// count notes a change, and finds out whether that makes it flap.
func (d *damper) count(now time.Time) {
	copy(d.changes[:], d.changes[1:])
	d.changes[flapChanges-1] = now
	if d.flapping {
		d.calmDue = now.Add(flapWindow)
		return
	}
	if d.up <= 0 || d.changes[0].IsZero() || now.Sub(d.changes[0]) > flapWindow {
		return
	}
	if !d.released.IsZero() && now.Sub(d.released) <= flapWindow {
		d.hold = min(2*d.hold, max(d.up, flapWindow))
	} else {
		d.hold = d.up
	}
	d.flapping, d.calmDue = true, now.Add(flapWindow)
}

// tick lets everything happen that was due by now.
func (d *damper) tick(now time.Time) {
	if due(d.downDue, now) {
		d.downDue = time.Time{}
		d.decide(now, false)
	}
	if due(d.upDue, now) {
		d.flapping, d.released, d.upDue, d.downDue = false, now, time.Time{}, time.Time{}
		d.decide(now, true)
	}
	if d.flapping && !d.raw && due(d.calmDue, now) {
		d.flapping = false
	}
}

func (d *damper) decide(now time.Time, verdict bool) {
	if d.verdict != verdict || d.since.IsZero() {
		d.verdict, d.since = verdict, now
	}
}

// next gives the moment of the next tick; zero: none is needed.
func (d *damper) next() time.Time {
	first := earlier(d.downDue, d.upDue)
	if d.flapping && !d.raw {
		first = earlier(first, d.calmDue)
	}
	return first
}

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// earlier gives the earlier of two moments, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
