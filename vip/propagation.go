package vip

import (
	"net/netip"
	"time"
)

// propagation judges what other nodes have for the service addresses while this one holds them. Pure, like sentry.
type propagation struct {
	settle time.Duration // after taking the address: the announcements need a moment

	mine    MAC // zero: nothing can be judged
	holds   bool
	changed time.Duration
	views   map[outlookID]*outlook // at most outlookLimit
}

// outlookID is whose view of what.
type outlookID struct {
	address netip.Addr
	from    netip.Addr
	fromMAC MAC
}

// outlook is one node's view of one address.
type outlook struct {
	mac   MAC
	tries int           // announcements in this episode. 0: the view is right, or not judged yet
	at    time.Duration // the next try, or the verdict
	spent bool          // all tries are, and that was told
	began time.Duration // the newest episode. never: none yet
}

const (
	retellTries  = 3
	retellEvery  = time.Second
	retellAgain  = 10 * time.Second // between the beginnings of two episodes
	outlookLimit = 64
)

// message is what follows: an announcement to one node, or something to tell of its view.
type message struct {
	announce bool
	kind     Kind
	view     View
}

func newPropagation(settle time.Duration) *propagation {
	return &propagation{settle: settle, views: map[outlookID]*outlook{}}
}

// hold takes whether this node holds the address. Views stay: a node that heard nothing of the change says nothing new.
func (p *propagation) hold(now time.Duration, holds bool) []message {
	if holds == p.holds {
		return nil
	}
	p.holds, p.changed = holds, now
	var all []message
	for id, o := range p.views {
		all = append(all, p.end(id, o)...)
		o.began = never
	}
	return all
}

// use takes the interface's MAC.
func (p *propagation) use(mac MAC) { p.mine = mac }

// view takes the newest view of a node. A node that has no MAC asks when it needs one.
func (p *propagation) view(now time.Duration, v View) []message {
	id := outlookID{v.Address, v.From, v.FromMAC}
	o := p.views[id]
	if o == nil {
		if len(p.views) == outlookLimit {
			return nil
		}
		o = &outlook{began: never}
		p.views[id] = o
	}
	o.mac = v.MAC
	return p.tick(now)
}

func (p *propagation) wrong(id outlookID, o *outlook) bool {
	return p.holds && !p.mine.IsZero() && !o.mac.IsZero() && o.mac != p.mine && id.fromMAC != p.mine
}

// tick does what has become due.
func (p *propagation) tick(now time.Duration) []message {
	var all []message
	for id, o := range p.views {
		switch {
		case !p.wrong(id, o):
			all = append(all, p.end(id, o)...)
		case now < p.dueAt(o):
		case o.tries == 0:
			o.began, o.tries, o.at = now, 1, now+retellEvery
			all = append(all, p.say(id, o, KindStaleNeighbour), p.announce(id, o))
		case o.spent:
		case o.tries < retellTries:
			o.tries, o.at = o.tries+1, now+retellEvery
			all = append(all, p.announce(id, o))
		default:
			o.spent = true
			all = append(all, p.say(id, o, KindNotPropagated))
		}
	}
	return all
}

// end ends an episode, if there is one.
func (p *propagation) end(id outlookID, o *outlook) []message {
	if o.tries == 0 {
		return nil
	}
	o.tries, o.spent = 0, false
	return []message{p.say(id, o, KindNeighbourFine)}
}

func (p *propagation) say(id outlookID, o *outlook, k Kind) message {
	return message{kind: k, view: View{Address: id.address, MAC: o.mac, From: id.from, FromMAC: id.fromMAC}}
}

func (p *propagation) announce(id outlookID, o *outlook) message {
	m := p.say(id, o, "")
	m.announce = true
	return m
}

// dueAt is when the next thing is due for a wrong view. Past if it was told that nothing helps.
func (p *propagation) dueAt(o *outlook) time.Duration {
	switch {
	case o.tries > 0:
		return o.at
	case o.began == never:
		return p.changed + p.settle
	}
	return max(p.changed+p.settle, o.began+retellAgain)
}

// wakeAt is the next moment at which tick has something to do.
func (p *propagation) wakeAt(now time.Duration) time.Duration {
	at := never
	for id, o := range p.views {
		if p.wrong(id, o) {
			at = laterThan(now, at, p.dueAt(o))
		}
	}
	return at
}
