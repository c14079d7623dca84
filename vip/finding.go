package vip

import "net/netip"

// Kind says what a Monitor found.
type Kind string

// The kinds of findings. The first five are about the address on this host and change its Health, the others about the network.
const (
	KindMissing    Kind = "missing"    // not there although it is to be held; a repair was ordered
	KindUnexpected Kind = "unexpected" // there although it is not to be held; a repair was ordered
	KindPersistent Kind = "persistent" // the repair did not help: the node is not fit to serve
	KindRepaired   Kind = "repaired"   // as wanted again: ends missing, unexpected and persistent
	KindVoid       Kind = "void"       // the role changed: a persistent finding of the old one says nothing any more

	KindConflict       Kind = "conflict"        // another host claims the address
	KindConflictOver   Kind = "conflict-over"   // it has been silent for a minute
	KindStaleNeighbour Kind = "stale-neighbour" // a node has another MAC for the address than ours; it is told again
	KindNotPropagated  Kind = "not-propagated"  // telling it did not help
	KindNeighbourFine  Kind = "neighbour-fine"  // ends stale-neighbour and not-propagated: it has our MAC, or we no longer hold the address
)

// Health says whether the addresses on this host are as the role wants them.
type Health string

// The states of health (SIP Server's VIP monitoring, S4-41 to S4-46).
const (
	HealthOK     Health = "ok"     // as wanted, or not judged because the role has just changed
	HealthFixing Health = "fixing" // not as wanted, and a repair is under way
	HealthBad    Health = "bad"    // not as wanted, and repairs do not help
)

// Finding is what a Monitor tells.
type Finding struct {
	Kind    Kind
	Event   string     // 00-52029 with missing and unexpected, 00-52030 with repaired; else empty
	Health  Health     // from now on
	Address netip.Addr // the first that it is about; Text names all
	MAC     MAC        // conflict: who claims it. stale-neighbour, not-propagated: what the neighbour has for it
	Text    string     // for people
}

// The log events of a failure of the address and of its end. Each is told once per episode, whatever the role (S4-46).
const (
	eventFailure = "00-52029"
	eventSuccess = "00-52030"
)
