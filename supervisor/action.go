package supervisor

import "time"

// Hold is the desired state of the service address, as a level: hold it or don't. The newest Hold wins; repeating one is harmless.
type Hold struct {
	Held   bool
	Epoch  Epoch
	Serial uint64        // grows with every change of Held or Epoch; a Hold with the same Serial only moves Until
	Until  time.Duration // Held: the lease's end on the node's own raw monotonic clock. At that moment the address must be closed
}

// AddressReport is what the effector of the service address says after every change that it carried out or could not carry out.
type AddressReport struct {
	Held   bool
	Epoch  Epoch
	Serial uint64 // of the Hold that was carried out, so that an old "dropped" is not taken for the one asked for last
	Err    error  // the desired state is not reached; the effector goes on trying
}

// Action is what the core wants done. Actions are levels or datagrams: carrying one out twice is harmless.
type Action interface{ action() }

// Send passes a lease message to another node.
type Send struct {
	To      NodeID
	Message Message
}

// Propose asks for an entry of the role record, by whichever node leads Raft. The outcome may stay unknown: the core asks again.
type Propose struct{ Entry Entry }

// Campaign starts a Raft election at once: the majority has agreed that the node which leads Raft is silent.
type Campaign struct{}

// Transfer moves Raft leadership to another node.
type Transfer struct{ To NodeID }

// Became says that this node's state changed, with the sentence that operators read.
type Became struct {
	From, To State
	Epoch    Epoch
	Primary  NodeID
	Why      string
}

// Tell passes this node's report to the others. The newest replaces older ones that wait.
type Tell struct{ Report Report }

// Announce tells the neighbours again where the service address is.
type Announce struct{}

// Alert tells people something that is no change of state.
type Alert struct {
	Name string // stable: "budget-spent", "store-slow"
	Text string
}

func (Hold) action()     {}
func (Send) action()     {}
func (Propose) action()  {}
func (Campaign) action() {}
func (Transfer) action() {}
func (Became) action()   {}
func (Tell) action()     {}
func (Announce) action() {}
func (Alert) action()    {}
