package status

import (
	"slices"

	"github.com/understudy-sip/understudy/supervisor"
)

// Verdict sums a Snapshot up in one word.
type Verdict string

// The verdicts.
const (
	VerdictGood      Verdict = "good"       // a primary serves and the next failure is covered
	VerdictDegraded  Verdict = "degraded"   // a primary serves, but something needs a look
	VerdictNoPrimary Verdict = "no-primary" // nobody is seen to serve: no primary, or one whose own SIP server is dead
)

// ExitCode is the exit status of `understudy status`, as Nagios and Icinga read it: 0 good, 1 degraded, 2 no primary.
func (v Verdict) ExitCode() int {
	switch v {
	case VerdictGood:
		return 0
	case VerdictDegraded:
		return 1
	default:
		return 2
	}
}

// Judge gives the verdict on a Snapshot from its nodes, its pause and its problems; it does not look at s.Verdict.
func Judge(s Snapshot) Verdict {
	if len(s.serving()) == 0 {
		return VerdictNoPrimary
	}
	if len(s.Problems) > 0 || s.Paused != nil {
		return VerdictDegraded
	}
	return VerdictGood
}

// primaries are the nodes heard to hold the role: one, or none; two only while a policy of `hold` keeps a cut-off one going.
func (s Snapshot) primaries() []Node {
	var found []Node
	for _, n := range s.Nodes {
		if n.Heard && n.Role == supervisor.RolePrimary {
			found = append(found, n)
		}
	}
	return found
}

// serving are the primaries whose SIP server is not known to be dead.
func (s Snapshot) serving() []Node {
	return slices.DeleteFunc(s.primaries(), func(n Node) bool { return n.Server.Class == supervisor.ClassDead })
}

// node finds a voter by its name.
func (s Snapshot) node(name supervisor.NodeID) (Node, bool) {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}
