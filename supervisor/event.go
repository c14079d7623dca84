package supervisor

import "time"

// Now is one moment: Mono on the node's raw monotonic clock (since any origin), by which leases and timers run, and Wall for what
// people read and for pauses. Wall may jump; nothing that keeps the pair safe depends on it.
type Now struct {
	Mono time.Duration
	Wall time.Time
}

// Event is something that happened. The core answers every event in every state.
type Event interface{ event() }

// Tick is the passing of time: the deadline that Core.Next named has come.
type Tick struct{}

// Received is a lease message from another node, authenticated as its sender's.
type Received struct {
	From    NodeID
	Message Message
}

// Applied is the role record after a change, in commit order. Synced tells that it includes everything that was committed before
// this process started; before that, it may be older than what this node once promised.
type Applied struct {
	Record Record
	Synced bool
}

// Led names the node that leads Raft as far as this node knows; empty if none.
type Led struct{ Leader NodeID }

// Refused says that a proposal of ours did not apply, or that nobody could be asked.
type Refused struct {
	Entry Entry
	Err   error
}

// Reported is another node's report.
type Reported struct{ Report Report }

// Lost says that the control stream to a node has ended.
type Lost struct{ Node NodeID }

// Sensed is what this node's own sensors see now: a member's reasons not to serve, its SIP server, the service address and the other
// members from here. It replaces what they said before.
type Sensed struct {
	Reasons    []Reason
	Server     View
	Service    View
	Members    map[NodeID]View
	Neighbours map[string]Neighbour // service address to the MAC that this node's kernel has for it; never changed in place
	Traffic    Traffic
	Deaf       time.Duration // with ReasonListener: since when nothing listens, on the node's own raw monotonic clock
}

// AddressIs is the effector's word about the service address.
type AddressIs struct{ AddressReport }

// Leave says that the sidecar is being stopped: hand the role over if there is anybody, and drop it in any case.
type Leave struct{}

func (Tick) event()      {}
func (Received) event()  {}
func (Applied) event()   {}
func (Led) event()       {}
func (Refused) event()   {}
func (Reported) event()  {}
func (Lost) event()      {}
func (Sensed) event()    {}
func (AddressIs) event() {}
func (Leave) event()     {}
