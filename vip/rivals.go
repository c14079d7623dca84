package vip

import (
	"net/netip"
	"slices"
	"time"
)

// rivals judges claims of the service addresses by other hosts. Pure, like sentry.
//
// Who holds the address announces it again for every foreign claim, at most defendLimit times within defendSpan. RFC 5227 section 2.4 (c)
// asks hosts with an address that must not go away for one announcement in ten seconds at most, so that two such hosts don't flood
// the network; a service that neighbours have lost for ten seconds is worse than ten frames.
//
// The other members of the pair are no rivals while they may hold the address: always when this node doesn't, and for a moment after it
// took it.
type rivals struct {
	holds   bool
	changed time.Duration // when holds changed last
	members []MAC         // the newest memberLimit, newest last

	sightings map[rival]*sighting // at most rivalLimit
	defences  map[netip.Addr]*defence
}

// rival is who claims what.
type rival struct {
	address netip.Addr
	mac     MAC
}

type sighting struct {
	first, last time.Duration
	told        time.Duration // never: not yet
	claims      int           // since it was told last
}

type defence struct {
	spent budget
	owed  time.Duration // announce then. never: nothing is owed
}

const (
	defendLimit  = 10
	defendSpan   = 10 * time.Second
	firstDefence = 100 * time.Millisecond // after taking the address: until then the effector announces anyway
	roleSlack    = 2 * time.Second        // how long after a change of the role a member's claim may be a late one
	repeatTold   = 10 * time.Second       // a rival that goes on is told of again
	rivalSilence = time.Minute            // a rival that is silent for so long has given up
	rivalLimit   = 32
	memberLimit  = 32
)

func newRivals(group []netip.Prefix) *rivals {
	r := &rivals{sightings: map[rival]*sighting{}, defences: map[netip.Addr]*defence{}}
	for _, p := range group {
		r.defences[p.Addr()] = &defence{spent: budget{limit: defendLimit, window: defendSpan}, owed: never}
	}
	return r
}

// deed is what follows from claims: an announcement, or something to tell.
type deed struct {
	announce netip.Addr // valid: announce it now
	kind     Kind       // else: tell this of
	rival    rival
	claims   int // so many since the last time
}

// hold takes whether this node holds the address.
func (r *rivals) hold(now time.Duration, holds bool) {
	if holds == r.holds {
		return
	}
	r.holds, r.changed = holds, now
	for _, d := range r.defences {
		d.owed = never
	}
}

// member takes a MAC of another member of the pair.
func (r *rivals) member(mac MAC) {
	if mac.IsZero() || r.isMember(mac) {
		return
	}
	if len(r.members) == memberLimit {
		r.members = append(r.members[:0], r.members[1:]...)
	}
	r.members = append(r.members, mac)
}

func (r *rivals) isMember(mac MAC) bool { return slices.Contains(r.members, mac) }

// rightful reports whether a claim is nothing to worry about. Where no member's MAC is known, a node that doesn't hold the address
// can't tell its holder from a rival.
func (r *rivals) rightful(now time.Duration, mac MAC) bool {
	late := now < r.changed+roleSlack
	if r.holds {
		return r.isMember(mac) && late
	}
	return r.isMember(mac) || len(r.members) == 0
}

// claim takes a claim of an address of the group.
func (r *rivals) claim(now time.Duration, address netip.Addr, mac MAC) []deed {
	d := r.defences[address]
	if d == nil || mac.IsZero() || r.rightful(now, mac) {
		return nil
	}
	if r.holds {
		d.owed = min(d.owed, now)
	}
	id := rival{address, mac}
	s := r.sightings[id]
	if s == nil && len(r.sightings) < rivalLimit {
		s = &sighting{first: now, told: never}
		r.sightings[id] = s
	}
	if s != nil {
		s.last = now
		s.claims++
	}
	return r.tick(now)
}

// tick does what has become due.
func (r *rivals) tick(now time.Duration) []deed {
	var all []deed
	for address, d := range r.defences {
		if d.owed != never && r.defendAt(d) <= now {
			d.owed = never
			d.spent.note(now)
			all = append(all, deed{announce: address})
		}
	}
	for id, s := range r.sightings {
		switch at, what := r.next(id, s); {
		case at > now:
		case what == "":
			delete(r.sightings, id)
		case what == KindConflictOver:
			delete(r.sightings, id)
			all = append(all, deed{kind: what, rival: id})
		default:
			all = append(all, deed{kind: what, rival: id, claims: s.claims})
			s.told, s.claims = now, 0
		}
	}
	return all
}

// defendAt is when an owed announcement may leave.
func (r *rivals) defendAt(d *defence) time.Duration {
	at := max(d.owed, r.changed+firstDefence)
	if len(d.spent.at) == d.spent.limit {
		at = max(at, d.spent.at[0]+d.spent.window)
	}
	return at
}

// next is what becomes due for a rival, and when. Who doesn't hold the address waits a moment: perhaps it learns that it is a member's.
func (r *rivals) next(id rival, s *sighting) (time.Duration, Kind) {
	switch {
	case s.told == never && r.holds:
		return s.first, KindConflict
	case s.told == never && r.isMember(id.mac):
		return s.first, ""
	case s.told == never:
		return s.first + roleSlack, KindConflict
	case s.claims > 0:
		return s.told + repeatTold, KindConflict
	}
	return s.last + rivalSilence, KindConflictOver
}

// wakeAt is the next moment at which tick has something to do.
func (r *rivals) wakeAt(now time.Duration) time.Duration {
	at := never
	for _, d := range r.defences {
		if d.owed != never {
			at = laterThan(now, at, r.defendAt(d))
		}
	}
	for id, s := range r.sightings {
		next, _ := r.next(id, s)
		at = laterThan(now, at, next)
	}
	return at
}
