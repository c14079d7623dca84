package vip

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// happening is an event of the kernel, parsed: the message itself lies in a buffer that the next one overwrites.
type happening struct {
	kind      happeningKind
	address   addressEvent
	neighbour neighbour
	link      string
}

type happeningKind int

const (
	eventsLost happeningKind = iota
	addressChanged
	linkChanged
	neighbourChanged
)

// parseEvent reads an event of addresses, links or neighbours; false for everything else.
func parseEvent(m syscall.NetlinkMessage) (h happening, ok bool) {
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		h.kind = addressChanged
		h.address, ok = parseAddress(m)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		h.kind = linkChanged
		h.link = linkName(m)
		ok = h.link != ""
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		h.kind = neighbourChanged
		h.neighbour, ok = parseNeighbour(m)
	}
	return h, ok
}
