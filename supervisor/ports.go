package supervisor

// Wire carries what the core says to the other nodes. Its methods must not block and may lose what they are given.
type Wire interface {
	Send(to NodeID, m Message)
	Report(r Report)
}

// Log is the replicated log. Its methods must not block; a proposal that is known to have failed comes back as a Refused event.
type Log interface {
	Propose(e Entry)
	Campaign()
	Transfer(to NodeID)
}

// Address is the effector of the service address. Set replaces what was asked for before. Announce tells the neighbours again where the
// address is, if it is here. Neither may block.
type Address interface {
	Set(h Hold)
	Announce()
}

// Audience is told what happened. Its methods must not block.
type Audience interface {
	Became(b Became)
	Alert(a Alert)
}
