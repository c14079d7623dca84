package vip

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// neighbour is an entry of the kernel's neighbour table.
type neighbour struct {
	address netip.Addr
	link    int
	mac     MAC // none unless the state has one
	state   string
}

// Sizes and numbers of linux/neighbour.h.
const (
	sizeofNdmsg = 12
	ndaDst      = 1
	ndaLLAddr   = 2
)

// neighbourStates are the NUD_ states as iproute2 names them, and whether one has a MAC that is used.
var neighbourStates = map[uint16]struct {
	name string
	mac  bool
}{
	unix.NUD_INCOMPLETE: {"incomplete", false},
	unix.NUD_REACHABLE:  {"reachable", true},
	unix.NUD_STALE:      {"stale", true},
	unix.NUD_DELAY:      {"delay", true},
	unix.NUD_PROBE:      {"probe", true},
	unix.NUD_FAILED:     {"failed", false},
	unix.NUD_NOARP:      {"noarp", true},
	unix.NUD_PERMANENT:  {"permanent", true},
}

// parseNeighbour reads RTM_NEWNEIGH and RTM_DELNEIGH. Entries of bridges (AF_BRIDGE) are none.
func parseNeighbour(m syscall.NetlinkMessage) (neighbour, bool) {
	if len(m.Data) < sizeofNdmsg || m.Data[0] != unix.AF_INET && m.Data[0] != unix.AF_INET6 {
		return neighbour{}, false
	}
	var address netip.Addr
	var mac MAC
	found := false
	for kind, value := range attributes(m.Data[sizeofNdmsg:]) {
		switch kind {
		case ndaDst:
			address, found = netip.AddrFromSlice(value)
		case ndaLLAddr:
			mac = macOf(value)
		}
	}
	state := binary.NativeEndian.Uint16(m.Data[8:])
	if m.Header.Type == unix.RTM_DELNEIGH {
		state = unix.NUD_NONE
	}
	return neighbourIs(address, int(int32(binary.NativeEndian.Uint32(m.Data[4:]))), mac, state), found
}

func neighbourIs(address netip.Addr, link int, mac MAC, state uint16) neighbour {
	n := neighbour{address: address, link: link, state: "none"}
	if s, known := neighbourStates[state]; known {
		n.state = s.name
		if s.mac {
			n.mac = mac
		}
	}
	return n
}
