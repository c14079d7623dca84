package nic

import (
	"net/netip"
	"time"
)

// State is what is known of one monitored interface. It is reported at start and whenever anything but Since changes.
type State struct {
	Name     string     // of the monitor
	Link     string     // the interface's name now, or its last one; empty if it was never there
	Address  netip.Addr // that the interface is to carry, if the monitor names one
	Up       bool       // the verdict: debounced, and held down while the interface flaps
	Text     string     // for people: "eth1 is up", "no carrier on eth1", "eth1 was removed", "eth1 no longer has 10.0.0.1"
	Flapping bool       // it changes too often to be relied upon; see Monitor.DebounceUp
	Found    bool       // the interface was there at least once since Run began; if not, the configuration may be wrong
	Since    time.Time  // when the verdict took this value
}

// Reach tells whether a gateway answers.
type Reach int

// Whether the gateway answers is unknown while the interface is down and until the first answer or the verdict, and where it can't be
// asked.
const (
	ReachUnknown Reach = iota
	ReachAnswering
	ReachSilent
)

func (r Reach) String() string {
	switch r {
	case ReachAnswering:
		return "answering"
	case ReachSilent:
		return "silent"
	default:
		return "unknown"
	}
}

// Gateway is what is known of one monitor's gateway: a fact of its own, which doesn't change the State of the interface. It is reported
// whenever anything but Since changes.
type Gateway struct {
	Name    string     // of the monitor
	Link    string     // the interface by which it is asked
	Address netip.Addr // of the gateway
	Reach   Reach
	Text    string    // for people: "gateway 10.0.0.254 answers", "gateway 10.0.0.254 has not answered ARP for 3s"
	Since   time.Time // when Reach took this value
}
