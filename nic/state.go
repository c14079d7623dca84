package nic

import "github.com/vishvananda/netlink"

// State is what is known of one interface.
type State struct {
	Link string
	Up   bool
	Text string // for people: "up", "there is no such interface", "set down by an administrator", "no carrier"
}

// judge classes an interface by its flags and operational state. An unknown operational state counts as up: many virtual interfaces
// have no other (RFC 2863 ifOperStatus; SEMANTICS of S4-47: operstate unknown is up).
func judge(name string, l netlink.Link) State {
	s := State{Link: name}
	if l == nil {
		s.Text = "there is no such interface"
		return s
	}
	a := l.Attrs()
	switch {
	case a.RawFlags&flagUp == 0:
		s.Text = "set down by an administrator"
	case a.OperState == netlink.OperDown || a.OperState == netlink.OperLowerLayerDown || a.OperState == netlink.OperNotPresent:
		s.Text = "no carrier (" + a.OperState.String() + ")"
	default:
		s.Up, s.Text = true, "up"
	}
	return s
}

const flagUp = 1 // IFF_UP
