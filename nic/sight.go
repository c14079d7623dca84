package nic

import (
	"fmt"
	"net/netip"
)

// link is what the kernel says of one interface.
type link struct {
	index int
	name  string
	flags uint32 // IFF_
	oper  operState
	kind  string // "bond", "vlan", ...; empty for hardware
	below string // the interface that it is stacked on, if that is in this namespace and is down
	ether bool   // it has an Ethernet address
	mac   [6]byte
}

// operState is RFC 2863's ifOperStatus as Linux numbers it (linux/if.h).
type operState uint8

const (
	operUnknown operState = iota
	operNotPresent
	operDown
	operLowerLayerDown
	operTesting
	operDormant
	operUp
)

// Interface flags (linux/if.h).
const (
	flagUp       = 0x1
	flagLoopback = 0x8
	flagNoARP    = 0x80
	flagLowerUp  = 0x10000
)

// carriage tells whether an interface carries an address.
type carriage int

const (
	carriesNot carriage = iota
	carriesTentative
	carriesDuplicate
	carriesIt
)

// sight is what a look at the kernel showed for one monitor.
type sight struct {
	link    *link      // the interface that the monitor means, if there is one
	old     *link      // if there is none: what became of the one that it meant before
	carries carriage   // of link, if the monitor names an address
	from    netip.Addr // what link can ask the monitor's gateway from; 0.0.0.0 is possible, invalid if nothing is
	again   bool       // the look was disturbed: look again soon
}

// past is what a monitor remembers.
type past struct {
	index int    // of the interface that it meant last; 0: there was none
	name  string // of that
	had   bool   // that, or one before, carried the address
}

// judge tells whether an interface is up and says why for people.
//
// It fails when it is missing, set down, without a carrier (operational state down, lower layer down or not present) or does not
// carry its address. An unknown operational state counts as up, because many virtual interfaces have no other, and so do testing and
// dormant; a loopback interface is always up.
func judge(m Monitor, p past, s sight) (up bool, text string) {
	if s.link == nil {
		return false, missing(m, p, s.old)
	}
	l := s.link
	if l.flags&flagLoopback == 0 {
		switch {
		case l.flags&flagUp == 0:
			return false, l.name + " is set down by an administrator"
		case !l.carrier():
			return false, noCarrier(l)
		}
	}
	if m.Address.IsValid() {
		switch s.carries {
		case carriesNot:
			return false, lacks(m, p, l)
		case carriesTentative:
			return false, fmt.Sprintf("%s on %s is still tentative: the kernel looks for duplicates", m.Address, l.name)
		case carriesDuplicate:
			return false, fmt.Sprintf("%s on %s is not usable: another host has it too", m.Address, l.name)
		}
	}
	return true, l.name + " is up"
}

// lacksCarrier: it is there and set up, but its cable is not in.
func (l *link) lacksCarrier() bool {
	return l != nil && l.flags&(flagUp|flagLoopback) == flagUp && !l.carrier()
}

func (l *link) carrier() bool {
	return l.oper != operDown && l.oper != operLowerLayerDown && l.oper != operNotPresent && l.flags&flagLowerUp != 0
}

func missing(m Monitor, p past, old *link) string {
	switch {
	case old != nil && m.Link != "" && old.name == p.name: // it was an alternative name
		return fmt.Sprintf("%s is no longer called %s", old.name, m.Link)
	case old != nil && m.Link != "":
		return p.name + " was renamed to " + old.name
	case old != nil && old.flags&(flagUp|flagLoopback) == 0:
		return old.name + " is set down by an administrator" // which also takes its IPv6 addresses
	case old != nil:
		return lacks(m, p, old)
	case p.index != 0:
		return p.name + " was removed"
	case m.Link != "":
		return "there is no interface " + m.Link
	}
	return fmt.Sprintf("no interface has %s", m.Address)
}

func lacks(m Monitor, p past, l *link) string {
	if p.had {
		return fmt.Sprintf("%s no longer has %s", l.name, m.Address)
	}
	return fmt.Sprintf("%s does not have %s", l.name, m.Address)
}

func noCarrier(l *link) string {
	text := "no carrier on " + l.name
	switch {
	case l.kind == "bond" || l.kind == "team":
		return text + ": none of its members is up"
	case l.kind == "bridge":
		return text + ": none of its ports forwards"
	case l.below != "":
		return fmt.Sprintf("%s: %s below it is down", text, l.below)
	}
	return text
}
