package supervisor

// NodeID is a node's name: the key under `nodes:` in the configuration and the DNS name in its certificate.
type NodeID string

// Epoch numbers the reigns of the pair. It grows by one with every change of the primary and fences whatever was done in the name
// of an older one. Epoch 0 means that no primary was ever chosen.
type Epoch uint64

// Role is what a node is for the pair right now.
type Role string

// The roles. A member that can't tell holds RoleNone, never RolePrimary.
const (
	RoleNone    Role = "none"
	RolePrimary Role = "primary"
	RoleBackup  Role = "backup"
	RoleWitness Role = "witness"
)

// Node is one of the voters of a pair.
type Node struct {
	ID      NodeID
	Witness bool // votes and observes, can never be primary
}

// Reason names why a member can't serve: it is unavailable while any of them stands.
type Reason string

// The reasons that a member's sensors give.
const (
	ReasonServerDead  Reason = "sip-server-dead"  // its process died or nothing listens: certain
	ReasonServerHung  Reason = "sip-server-hung"  // alive, but answers nothing: certain after the silence of the preset
	ReasonServerDrain Reason = "sip-server-drain" // answers 503: it asks for no new work
	ReasonServerStart Reason = "sip-server-start" // not yet seen serving since understudy started
	ReasonNIC         Reason = "nic"              // the interface of the node address is down
	ReasonSIPNIC      Reason = "sip-nic"          // the interface of the service address is down
	ReasonAddress     Reason = "vip"              // the service address can't be put up
	ReasonListener    Reason = "listener"         // its process lives, but nothing listens on its SIP port
	ReasonSilence     Reason = "silence"          // a primary: no SIP traffic for too long. The core finds it, no sensor
	ReasonStore       Reason = "store"            // the state folder can't be written
	ReasonConfig      Reason = "config"           // the configuration differs from the other nodes'
	ReasonLeaving     Reason = "leaving"          // the operator is stopping it
)
