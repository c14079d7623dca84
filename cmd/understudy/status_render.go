package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

const (
	timeLayout = "2006-01-02 15:04:05"
	zoneLayout = timeLayout + " MST" // once on a screen
)

// renderStatus draws the status on one screen: a line for the pair, a row for each node, what is wrong in sentences, and what else
// one wants to know before doing something.
func renderStatus(s status.Snapshot, zone *time.Location) string {
	var b strings.Builder
	b.WriteString(headline(s, zone) + "\n\n")
	b.WriteString(drawTable(func(row func(...string)) {
		row("NODE", "ROLE", "SIP", "ADDRESS", "LEASE", "FENCE", "READY", "SEEN")
		for _, n := range s.Nodes {
			row(string(n.Name), roleCell(n), sipCell(n, s), addressCell(n, s), leaseCell(n), fenceCell(n), readyCell(n), seenCell(n, s))
		}
	}))
	b.WriteString("\n")
	for _, p := range s.Problems {
		b.WriteString("! " + printable(p) + "\n")
	}
	for _, n := range s.Notes {
		b.WriteString("- " + printable(n) + "\n")
	}
	if len(s.Problems)+len(s.Notes) > 0 {
		b.WriteString("\n")
	}
	if alarms := alarmsTable(s); alarms != "" {
		b.WriteString(alarms + "\n")
	}
	for _, line := range factsLines(s) {
		b.WriteString(line + "\n")
	}
	b.WriteString(footer(s, zone))
	return b.String()
}

func headline(s status.Snapshot, zone *time.Location) string {
	parts := []string{s.Cluster, verdictWord(s.Verdict)}
	if s.Since == nil {
		parts = append(parts, "never had a primary")
	} else {
		parts = append(parts, fmt.Sprintf("epoch %d: %s since %s (%s)", s.Epoch, s.Primary, s.Since.In(zone).Format(zoneLayout),
			status.Span(s.At.Sub(*s.Since))))
	}
	parts = append(parts, fmt.Sprintf("quorum %d/%d", s.Quorum.Have, s.Quorum.Of), "preset "+string(s.Preset))
	return printable(strings.Join(parts, "   "))
}

func verdictWord(v status.Verdict) string {
	switch v {
	case status.VerdictGood:
		return "good"
	case status.VerdictDegraded:
		return "DEGRADED"
	default:
		return "NO PRIMARY"
	}
}

func roleCell(n status.Node) string {
	switch {
	case !n.Heard:
		return "?"
	case n.Role == supervisor.RolePrimary:
		return "PRIMARY"
	case n.Role == supervisor.RoleNone:
		return string(n.State)
	default:
		return string(n.Role)
	}
}

// sipCell is what a member's own SIP server said, and how many of the members' servers answer a witness.
func sipCell(n status.Node, s status.Snapshot) string {
	switch {
	case !n.Heard:
		return "-"
	case !n.Witness && n.Server.Text != "" && n.Server.Class == supervisor.ClassServing:
		return n.Server.Text
	case !n.Witness && n.Server.Text != "":
		return string(n.Server.Class) + ": " + n.Server.Text
	case !n.Witness:
		return string(n.Server.Class)
	case len(n.Members) == 0:
		return "-"
	}
	answer := 0
	for _, v := range n.Members {
		if v.Class == supervisor.ClassServing || v.Class == supervisor.ClassDraining {
			answer++
		}
	}
	return fmt.Sprintf("sees %d of %d", answer, len(n.Members))
}

func addressCell(n status.Node, s status.Snapshot) string {
	if !n.ServiceAddress || len(s.Addresses) == 0 {
		return "-"
	}
	first := strings.TrimSuffix(strings.TrimSuffix(s.Addresses[0], "/32"), "/128")
	if more := len(s.Addresses) - 1; more > 0 {
		return fmt.Sprintf("%s +%d", first, more)
	}
	return first
}

func leaseCell(n status.Node) string {
	if n.LeaseLeftMS <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0fms", n.LeaseLeftMS)
}

func fenceCell(n status.Node) string {
	if n.Witness || n.Fence == "" {
		return "-"
	}
	return string(n.Fence)
}

func readyCell(n status.Node) string {
	switch {
	case n.Witness || !n.Heard:
		return "-"
	case len(n.Reasons) > 0:
		words := make([]string, len(n.Reasons))
		for i, r := range n.Reasons {
			words[i] = string(r)
		}
		return "no: " + strings.Join(words, ", ")
	case n.Ready:
		return "yes"
	default:
		return "no"
	}
}

func seenCell(n status.Node, s status.Snapshot) string {
	switch {
	case n.Name == s.Node:
		return "here"
	case n.AgeMS < 0:
		return "never"
	default:
		return status.Span(time.Duration(n.AgeMS)*time.Millisecond) + " ago"
	}
}

func footer(s status.Snapshot, zone *time.Location) string {
	var lines []string
	if p := s.Paused; p != nil {
		lines = append(lines, fmt.Sprintf("PAUSED until %s (%s left) by %s: %s. No automatic switchover happens; `understudy resume` ends it.",
			p.Until.In(zone).Format(timeLayout), status.Span(p.Until.Sub(s.At)), p.By, p.Reason))
	}
	if l := s.Last; l != nil {
		lines = append(lines, fmt.Sprintf("Last switchover: %s  %s", l.At.In(zone).Format(timeLayout), switchoverText(*l)))
	}
	leader := string(s.RaftLeader)
	if leader == "" {
		leader = "none"
	}
	lines = append(lines, fmt.Sprintf("Budget: %d of %d automatic switchovers left in %s   Raft leader: %s", s.Budget.Left, s.Budget.Of,
		Duration(time.Duration(s.Budget.PerMS)*time.Millisecond), leader))
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}

func switchoverText(l supervisor.Switchover) string {
	from := string(l.From)
	if from == "" {
		from = "nobody"
	}
	text := fmt.Sprintf("%s -> %s, %s by %s", from, l.To, l.Trigger, l.By)
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

// renderHistory draws the newest limit switchovers, the newest first.
func renderHistory(history []supervisor.Switchover, zone *time.Location) string {
	if len(history) == 0 {
		return "No switchover yet.\n"
	}
	return drawTable(func(row func(...string)) {
		row("EPOCH", "WHEN ("+history[0].At.In(zone).Format("MST")+")", "FROM", "TO", "TRIGGER", "REASON", "BY")
		for _, h := range history {
			row(fmt.Sprint(h.Epoch), h.At.In(zone).Format(timeLayout), dash(string(h.From)), string(h.To), string(h.Trigger), dash(h.Reason), dash(h.By))
		}
	})
}

// newest gives the last n, the newest first; not nil, which JSON would show as null.
func newest(history []supervisor.Switchover, n int) []supervisor.Switchover {
	out := append([]supervisor.Switchover{}, history[max(len(history)-n, 0):]...)
	slices.Reverse(out)
	return out
}
