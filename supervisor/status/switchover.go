package status

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/understudy-sip/understudy/supervisor"
)

// PlanSwitchover checks whether a switchover can be done right now, as far as s tells, and says what would happen. An empty to means
// the other member. It returns the member that would become primary with the steps as sentences, or the refusal.
func PlanSwitchover(s Snapshot, to supervisor.NodeID) (supervisor.NodeID, []string, *Error) {
	if to == "" {
		to = otherMember(s)
	}
	target, known := s.node(to)
	if err := refuseTarget(s, target, to, known); err != nil {
		return "", nil, err
	}
	return to, steps(s, target), nil
}

// otherMember is the member that is not named primary; with no primary yet, the first that is ready.
func otherMember(s Snapshot) supervisor.NodeID {
	var other supervisor.NodeID
	for _, n := range s.Nodes {
		if n.Witness || n.Name == s.Primary {
			continue
		}
		if other == "" || n.Ready {
			other = n.Name
		}
		if s.Primary == "" && n.Ready {
			return n.Name
		}
	}
	return other
}

func refuseTarget(s Snapshot, target Node, to supervisor.NodeID, known bool) *Error {
	refuse := func(status int, hint, format string, args ...any) *Error {
		return &Error{Status: status, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case !known:
		return refuse(http.StatusBadRequest, "the members are "+memberNames(s), "there is no node %q", to)
	case target.Witness:
		return refuse(http.StatusConflict, "the members are "+memberNames(s), "%s is the witness: it can never be primary", to)
	case target.Name == s.Primary && target.Role == supervisor.RolePrimary:
		return refuse(http.StatusConflict, "nothing to do", "%s is primary already", to)
	case s.Quorum.Lost():
		return refuse(http.StatusConflict, "bring another node or the network between them back, or ask on a node that hears the others",
			"the majority is lost: %s hears %d of %d nodes", s.Node, s.Quorum.Have, s.Quorum.Of)
	case !target.Heard:
		return refuse(http.StatusPreconditionFailed, fmt.Sprintf("look at understudy on %s and the network to it", to), "%s is not heard", to)
	case len(target.Reasons) > 0:
		return refuse(http.StatusPreconditionFailed, "put that right first; `understudy status` shows when it is ready",
			"%s cannot take over: %s", to, reasonsText(target))
	case !target.Ready:
		return refuse(http.StatusPreconditionFailed, "`understudy status` shows when it is ready", "%s is not ready (%s)", to, target.State)
	case s.RaftLeader == "":
		return refuse(http.StatusConflict, "wait a second and ask again", "%s knows no Raft leader, so nothing can be committed", s.Node)
	}
	return nil
}

func memberNames(s Snapshot) string {
	var names []string
	for _, n := range s.Nodes {
		if !n.Witness {
			names = append(names, string(n.Name))
		}
	}
	return strings.Join(names, " and ")
}

func steps(s Snapshot, target Node) []string {
	addresses := strings.Join(s.Addresses, ", ")
	if addresses == "" {
		addresses = "the service address"
	}
	var out []string
	if p := s.primaries(); len(p) > 0 {
		out = append(out, fmt.Sprintf("%s drops %s and gives epoch %d up.", p[0].Name, addresses, s.Epoch))
	} else if old, ok := s.node(s.Primary); ok && !old.Heard {
		out = append(out, fmt.Sprintf("%s is silent: a majority closes epoch %d and its lease is waited out.", old.Name, s.Epoch))
	}
	out = append(out,
		fmt.Sprintf("Epoch %d with %s as primary is committed.", s.Epoch+1, target.Name),
		fmt.Sprintf("%s takes %s and announces it.", target.Name, addresses),
		"The role hooks run on both. The switchover budget is not touched: an operator asked.")
	if s.Paused != nil {
		out = append(out, "The pause stays: it holds back automatic switchovers only.")
	}
	return out
}
