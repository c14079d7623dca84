package vip

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ledger keeps book of where the addresses are, by events in their order: so it also sees what is gone and back again within
// microseconds. Not safe for concurrent use.
type ledger struct {
	name  string // of the interface
	group []netip.Prefix

	index  int // of the interface; 0: there is none
	places map[spot]bool
}

// spot is one address of the group on one interface.
type spot struct {
	address netip.Addr
	link    int
	bits    int
}

// addressEvent is an address that came, changed or went.
type addressEvent struct {
	spot
	there bool // usable: not so if duplicate address detection failed
}

// parseAddress reads RTM_NEWADDR and RTM_DELADDR.
func parseAddress(m syscall.NetlinkMessage) (addressEvent, bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return addressEvent{}, false
	}
	e := addressEvent{spot: spot{bits: int(m.Data[1]), link: int(binary.NativeEndian.Uint32(m.Data[4:]))}}
	flags := uint32(m.Data[2])
	var local, peer []byte // where both are given, local is ours
	for kind, value := range attributes(m.Data[unix.SizeofIfAddrmsg:]) {
		switch {
		case kind == unix.IFA_LOCAL:
			local = value
		case kind == unix.IFA_ADDRESS:
			peer = value
		case kind == unix.IFA_FLAGS && len(value) == 4:
			flags = binary.NativeEndian.Uint32(value)
		}
	}
	if local == nil {
		local = peer
	}
	a, ok := netip.AddrFromSlice(local)
	e.address = a
	e.there = m.Header.Type == unix.RTM_NEWADDR && flags&unix.IFA_F_DADFAILED == 0
	return e, ok
}

// apply enters an event and reports whether it changed anything about the group.
func (l *ledger) apply(e addressEvent) bool {
	if !l.ours(e.address) || l.places[e.spot] == e.there {
		return false
	}
	if e.there {
		l.places[e.spot] = true
	} else {
		delete(l.places, e.spot)
	}
	return true
}

func (l *ledger) ours(a netip.Addr) bool {
	for _, p := range l.group {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// wrong gives the addresses that are not as wanted. To be there means on the interface; not to be there means nowhere on this host.
func (l *ledger) wrong(wanted bool) []netip.Addr {
	var all []netip.Addr
	for _, p := range l.group {
		if l.has(p.Addr(), wanted) != wanted {
			all = append(all, p.Addr())
		}
	}
	return all
}

func (l *ledger) has(a netip.Addr, onInterface bool) bool {
	for s := range l.places {
		if s.address == a && (!onInterface || s.link == l.index) {
			return true
		}
	}
	return false
}

// linkName gives the interface that RTM_NEWLINK or RTM_DELLINK is about.
func linkName(m syscall.NetlinkMessage) string {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return ""
	}
	for kind, value := range attributes(m.Data[unix.SizeofIfInfomsg:]) {
		if kind == unix.IFLA_IFNAME {
			return strings.TrimRight(string(value), "\x00")
		}
	}
	return ""
}
