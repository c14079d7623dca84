package status

import (
	"fmt"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// ProbeAnswer is the answer on the paths that load balancers and service managers ask. OK goes with HTTP status 200, its absence
// with 503.
type ProbeAnswer struct {
	OK          bool              `json:"ok"`
	Node        supervisor.NodeID `json:"node"`
	Role        supervisor.Role   `json:"role"`
	State       supervisor.State  `json:"state"`
	Epoch       supervisor.Epoch  `json:"epoch"`
	Primary     supervisor.NodeID `json:"primary"`
	LeaseLeftMS float64           `json:"lease_left_ms"`
	Reasons     []string          `json:"reasons"` // why not; sentences
}

// probes are the questions by path: each gives the reasons for a no.
var probes = map[string]func(seen, time.Time) []string{
	"/primary": notPrimary,
	"/backup":  notBackup,
	"/ready":   notReady,
	"/health":  notHealthy,
	"/live":    notLive,
}

func (v seen) answer(path string, now time.Time) ProbeAnswer {
	reasons := append([]string{}, probes[path](v, now)...)
	return ProbeAnswer{
		OK: len(reasons) == 0, Node: v.Node, Role: v.self.Role, State: v.self.State, Epoch: v.Epoch, Primary: v.Primary,
		LeaseLeftMS: max(0, millis(v.lease.Sub(now))), Reasons: reasons,
	}
}

// notLive: the loop that decides about the role does not turn.
func notLive(v seen, _ time.Time) []string {
	if v.self.State == "" {
		return []string{"the loop that decides about the role does not answer"}
	}
	return nil
}

// notPrimary: no lease, no role. A primary that clings to its address without a majority (on-quorum-loss: hold) may not be the only one.
func notPrimary(v seen, now time.Time) []string {
	n := v.self
	switch {
	case n.State == "":
		return notLive(v, now)
	case n.State == supervisor.Clinging:
		return []string{fmt.Sprintf("%s keeps the service address without a lease (on-quorum-loss: hold)", n.Name)}
	case n.Role != supervisor.RolePrimary:
		return []string{fmt.Sprintf("%s is not primary but %s (%s); the record names %s", n.Name, n.Role, n.State, nobodyIfEmpty(v.Primary))}
	case !now.Before(v.lease):
		return []string{fmt.Sprintf("the lease of %s has ended", n.Name)}
	case v.AddressUp != nil && !*v.AddressUp, tells(n, supervisor.ReasonAddress):
		return []string{fmt.Sprintf("the service address is not up at %s", n.Name)}
	}
	return nil
}

func nobodyIfEmpty(n supervisor.NodeID) string {
	if n == "" {
		return "nobody"
	}
	return string(n)
}

func notBackup(v seen, now time.Time) []string {
	switch n := v.self; {
	case n.State == "":
		return notLive(v, now)
	case n.Role != supervisor.RoleBackup:
		return []string{fmt.Sprintf("%s is not backup but %s (%s)", n.Name, n.Role, n.State)}
	default:
		return unfit(v)
	}
}

// notReady: it neither is primary nor could become primary.
func notReady(v seen, now time.Time) []string {
	switch n := v.self; {
	case n.State == "":
		return notLive(v, now)
	case n.Witness:
		return []string{fmt.Sprintf("%s is a witness: it never takes the role", n.Name)}
	case n.Role == supervisor.RolePrimary:
		return notPrimary(v, now)
	default:
		return unfit(v)
	}
}

// unfit: why a member could not take over.
func unfit(v seen) []string {
	var out []string
	for _, r := range v.self.Reasons {
		out = append(out, reasonText(r, v.self.Server.Text))
	}
	if len(out) == 0 && !v.self.Ready {
		out = append(out, fmt.Sprintf("%s is not ready (%s)", v.self.Name, v.self.State))
	}
	if v.Quorum.Lost() {
		out = append(out, fmt.Sprintf("the majority is lost: %d of %d nodes are heard", v.Quorum.Have, v.Quorum.Of))
	}
	return out
}

// notHealthy: the SIP server of this host does not serve.
func notHealthy(v seen, now time.Time) []string {
	switch n := v.self; {
	case n.State == "":
		return notLive(v, now)
	case n.Witness:
		return []string{fmt.Sprintf("%s is a witness: it has no SIP server", n.Name)}
	case n.Server.Class != supervisor.ClassServing:
		return []string{fmt.Sprintf("the SIP server of %s is %s%s", n.Name, n.Server.Class, brackets(n.Server.Text))}
	}
	for _, r := range []supervisor.Reason{supervisor.ReasonServerDead, supervisor.ReasonServerHung, supervisor.ReasonServerStart,
		supervisor.ReasonServerDrain, supervisor.ReasonListener} {
		if tells(v.self, r) {
			return []string{reasonText(r, v.self.Server.Text)}
		}
	}
	return nil
}
