package vip

import (
	"net/netip"
	"time"
)

// View is what one node's kernel has in its neighbour table for a service address.
type View struct {
	Address netip.Addr // the service address
	MAC     MAC        // none: no entry, or one without an answer
	State   string     // as in "ip neigh": reachable, stale, delay, probe, permanent, noarp; incomplete, failed, none without a MAC
	At      time.Time  // when it became so, by the node's own clock

	From    netip.Addr // whose view: the node's address on that network, of the same family as Address; invalid if it has none
	FromMAC MAC        // and its MAC
}
