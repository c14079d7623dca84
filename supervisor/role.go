package supervisor

// State is where a node stands in the life of an epoch. Each constant says what is guaranteed while it lasts.
type State string

// The states.
const (
	Starting    State = "starting"    // holds nothing and promises nothing: it may have forgotten a promise, and its record may be old
	Vacant      State = "vacant"      // the record names no primary yet
	Witnessing  State = "witnessing"  // a witness: promises, closes, leads Raft perhaps; never holds
	Following   State = "following"   // another member is named; holds nothing
	Challenging State = "challenging" // as Following, and the named primary is silent here: asks the others to close its epoch
	Claiming    State = "claiming"    // as Following, and a majority will never again answer the epoch: asks for the next one
	Standing    State = "standing"    // the record names this node, which holds nothing: asks for promises
	Serving     State = "serving"     // the record names this node and its lease runs: the only state in which the address is held
	Clinging    State = "clinging"    // the lease ended, on-quorum-loss is hold and no other epoch is known: the address is kept
	Yielding    State = "yielding"    // gave its epoch up: the address goes down, then the others are told
)

// Role is the role that people see.
func (s State) Role() Role {
	switch s {
	case Serving, Clinging:
		return RolePrimary
	case Following, Challenging, Claiming, Standing, Yielding:
		return RoleBackup
	case Witnessing:
		return RoleWitness
	default:
		return RoleNone
	}
}
