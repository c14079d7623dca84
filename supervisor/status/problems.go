package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// problems are the sentences that make a verdict worse than good, the gravest first.
func problems(s Snapshot, in Input) []string {
	var out []string
	out = append(out, rolesProblems(s)...)
	out = append(out, votersProblems(s)...)
	for _, n := range s.Nodes {
		if n.Heard && !n.Witness {
			out = append(out, memberProblems(n, s)...)
		}
	}
	out = append(out, reachProblems(s)...)
	out = append(out, agreementProblems(s, in)...)
	out = append(out, factsProblems(s)...)
	if s.Budget.Of > 0 && s.Budget.Left == 0 {
		text := fmt.Sprintf("The switchover budget is spent: %d automatic switchovers in %s. "+
			"A fault that is only suspected moves the role no more", s.Budget.Of, Span(in.Budget.Per))
		if s.Budget.Next != nil {
			text += fmt.Sprintf(" for another %s", Span(s.Budget.Next.Sub(s.At)))
		}
		out = append(out, text+"; find out why it moves, or use `understudy switchover`.")
	}
	return out
}

// rolesProblems: who serves.
func rolesProblems(s Snapshot) []string {
	var out []string
	switch p := s.primaries(); {
	case len(p) > 1:
		out = append(out, fmt.Sprintf("%s and %s both say that they are primary (epochs %d and %d).",
			p[0].Name, p[1].Name, p[0].Epoch, p[1].Epoch))
	case len(p) == 0:
		out = append(out, noPrimary(s))
	}
	if len(s.primaries()) > 0 && len(s.serving()) == 0 {
		out = append(out, "Nobody serves: there is a primary, but its SIP server is dead and nobody has taken over.")
	}
	for _, n := range s.primaries() {
		if n.State == supervisor.Clinging {
			out = append(out, fmt.Sprintf("%s keeps the service address without a lease (on-quorum-loss: hold): "+
				"two primaries are possible until it hears a majority again.", n.Name))
		}
	}
	return out
}

func noPrimary(s Snapshot) string {
	named, known := s.node(s.Primary)
	switch {
	case s.Quorum.Lost():
		return fmt.Sprintf("No primary is seen: %s hears %s and cannot tell whether the others have one.",
			s.Node, nobodyBut(s))
	case s.Primary == "":
		return "No primary: none was ever chosen. One is chosen as soon as a member is ready."
	case known && !named.Heard:
		return fmt.Sprintf("No primary: %s held the role and is silent; nobody has taken over yet.", s.Primary)
	case known && named.State != "":
		return fmt.Sprintf("No primary: the role belongs to %s, which does not serve (%s).", s.Primary, named.State)
	default:
		return "No primary: nobody serves."
	}
}

func nobodyBut(s Snapshot) string {
	var heard []string
	for _, n := range s.Nodes {
		if n.Heard && n.Name != s.Node {
			heard = append(heard, string(n.Name))
		}
	}
	if len(heard) == 0 {
		return "nobody"
	}
	return "only " + strings.Join(heard, ", ")
}

// votersProblems: who is silent or has no vote yet, and what that costs.
func votersProblems(s Snapshot) []string {
	var out []string
	for _, n := range s.Nodes {
		if n.Heard {
			if n.Witness && n.State == supervisor.Starting {
				out = append(out, fmt.Sprintf("%s has only just started and does not vote yet%s.", n.Name, costOfSilence(n, s)))
			}
			continue
		}
		silence := "has not been heard since " + string(s.Node) + " started"
		if n.AgeMS >= 0 {
			silence = "has been silent for " + Span(time.Duration(n.AgeMS)*time.Millisecond)
		}
		out = append(out, fmt.Sprintf("%s %s%s.", n.Name, silence, costOfSilence(n, s)))
	}
	if s.Quorum.Lost() {
		out = append(out, fmt.Sprintf("The majority is lost: %d of %d nodes are heard. The role cannot change.",
			s.Quorum.Have, s.Quorum.Of))
	}
	if s.RaftLeader == "" && !s.Quorum.Lost() {
		out = append(out, fmt.Sprintf("%s knows no Raft leader: switchovers and pauses cannot be committed right now.", s.Node))
	}
	return out
}

// costOfSilence: what the next failure would do. With the primary or the majority gone, that is no longer the question.
func costOfSilence(n Node, s Snapshot) string {
	switch {
	case s.Quorum.Lost() || n.Name == s.Primary:
		return ""
	case n.Witness:
		return ": the failure of one more node leaves no primary"
	default:
		return ": nobody can take over if the primary fails"
	}
}

// memberProblems: what keeps a member from serving.
func memberProblems(n Node, s Snapshot) []string {
	var out []string
	if why := reasonsText(n); why != "" {
		if n.Role == supervisor.RolePrimary {
			out = append(out, fmt.Sprintf("%s is primary although %s.", n.Name, why))
		} else {
			out = append(out, fmt.Sprintf("%s cannot take over: %s.", n.Name, why))
		}
	} else if n.Role != supervisor.RolePrimary && !n.Ready {
		out = append(out, fmt.Sprintf("%s is not ready to take over (%s).", n.Name, n.State))
	}
	if n.Fence == supervisor.FenceNone {
		out = append(out, fmt.Sprintf("%s has no fence: if its sidecar hangs, only the sidecar could take the address away. "+
			"Let fence: auto find one (nftables needs CAP_NET_ADMIN and the kernel's nf_tables).", n.Name))
	}
	return out
}

// reachProblems: who gets no answer from whom.
func reachProblems(s Snapshot) []string {
	var out []string
	for _, n := range s.Nodes {
		if !n.Heard {
			continue
		}
		if n.Service.Class == supervisor.ClassDead && len(s.primaries()) > 0 {
			out = append(out, fmt.Sprintf("%s gets no answer from the service address%s.", n.Name, brackets(n.Service.Text)))
		}
		for _, m := range s.Nodes {
			view, ok := n.Members[string(m.Name)]
			if ok && view.Class == supervisor.ClassDead && m.Heard && m.Server.Class == supervisor.ClassServing {
				out = append(out, fmt.Sprintf("%s gets no answer from the SIP server of %s%s, which serves when asked by its own host.",
					n.Name, m.Name, brackets(view.Text)))
			}
		}
	}
	return out
}

// agreementProblems: nodes that do not have the same configuration or the same record.
func agreementProblems(s Snapshot, in Input) []string {
	var out []string
	mine, _ := s.node(s.Node)
	for _, n := range s.Nodes {
		if !n.Heard || n.Name == s.Node {
			continue
		}
		if n.ConfigHash != mine.ConfigHash {
			out = append(out, fmt.Sprintf("The configuration of %s (%s) differs from that of %s (%s): compare "+
				"`understudy check --print` on both.", n.Name, n.ConfigHash, s.Node, mine.ConfigHash))
		}
		if behind := s.Epoch > n.Epoch && in.Now.Sub(in.Record.Since) > in.Stale; behind {
			out = append(out, fmt.Sprintf("%s has applied the record up to epoch %d only, not %d.", n.Name, n.Epoch, s.Epoch))
		}
	}
	return out
}

// notes are sentences that change no verdict.
func notes(s Snapshot) []string {
	var out []string
	var versions []string
	for _, n := range s.Nodes {
		if !n.Heard {
			continue
		}
		if n.Fence == supervisor.FenceLifetime && !n.Witness {
			out = append(out, fmt.Sprintf("%s is fenced by the address's lifetime only: if it goes silent as primary, the other "+
				"takes over %s later than with nftables.", n.Name, Span(supervisor.FenceLifetime.Guard())))
		}
		if !slices.Contains(versions, n.Version) {
			versions = append(versions, n.Version)
		}
	}
	if len(versions) > 1 {
		out = append(out, "The nodes run different versions: "+strings.Join(versions, ", ")+".")
	}
	return append(out, factsNotes(s)...)
}
