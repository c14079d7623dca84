package supervisor

import "time"

// Class is what an OPTIONS probe says about its target.
type Class string

// The classes of answers. Every final answer that proves a live SIP stack counts as serving.
const (
	ClassUnknown  Class = "unknown"  // not probed long enough to tell, or not probed
	ClassServing  Class = "serving"  // 2xx and every code that proves a live SIP stack
	ClassDraining Class = "draining" // 503
	ClassDead     Class = "dead"     // refused, or silent for the time of the preset
)

// View is what one node sees of one target.
type View struct {
	Class Class         `json:"class"`
	Code  int           `json:"code"`           // last SIP status code, 0 without one
	RTT   time.Duration `json:"rtt"`            // of the last answer
	Text  string        `json:"text"`           // for people: "refused", "no answer for 350ms", "200 in 0.3ms"
	Busy  bool          `json:"busy,omitempty"` // of a member's own SIP server: it answers, but not everybody in time
}

// Report is what a node tells the others about itself and about what it sees. It informs; it never extends a lease.
type Report struct {
	Node       NodeID               `json:"node"`
	Boot       uint64               `json:"boot"`  // random number of this run of the process
	Epoch      Epoch                `json:"epoch"` // of the record that the node has applied
	State      State                `json:"state"`
	Ready      bool                 `json:"ready"`                // a member: could be primary now
	Reasons    []Reason             `json:"reasons"`              // why it could not, sorted
	Server     View                 `json:"server"`               // a member's own SIP server as it sees it
	Service    View                 `json:"service"`              // the service address as seen from here
	Members    map[NodeID]View      `json:"members"`              // the other members' own SIP addresses as seen from here
	Neighbours map[string]Neighbour `json:"neighbours,omitempty"` // service address to the MAC that this node's kernel has for it
	Fence      Fence                `json:"fence"`
	LeaseLeft  time.Duration        `json:"lease_left"` // of a lease it holds
	ConfigHash string               `json:"config_hash"`
	Version    string               `json:"version"`
}

// Neighbour is what a node's kernel believes about a service address: where it sends packets for it. Addresses are as text.
type Neighbour struct {
	MAC     string `json:"mac"`      // Ethernet address, "none" without one
	From    string `json:"from"`     // the node's own IP address on that network
	FromMAC string `json:"from_mac"` // and its Ethernet address
}
