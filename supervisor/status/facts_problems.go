package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// factsProblems: what this node's sensors and the alarm table say beyond the reasons in the reports.
func factsProblems(s Snapshot) []string {
	var out []string
	self, _ := s.node(s.Node)
	if q := s.Socket; q != nil && !q.Listening && !tells(self, supervisor.ReasonListener, supervisor.ReasonServerDead) {
		text := "Nothing listens where the SIP server of " + string(s.Node) + " should"
		if q.MissingMS > 0 {
			text += ", for " + Span(time.Duration(q.MissingMS)*time.Millisecond)
		}
		out = append(out, text+".")
	}
	if up := s.AddressUp; up != nil && !*up && self.ServiceAddress && !tells(self, supervisor.ReasonAddress) {
		out = append(out, fmt.Sprintf("%s is primary, but the service address is not on its interface.", s.Node))
	}
	return out
}

// factsNotes: what is worth knowing. Alarms change no verdict: some stay until somebody has seen them, long after the pair is well again.
func factsNotes(s Snapshot) (out []string) {
	if grave := s.alarms(true); len(grave) > 0 {
		out = append(out, alarmsSentence(grave, "critical or major"))
	}
	if lesser := s.alarms(false); len(lesser) > 0 {
		out = append(out, alarmsSentence(lesser, "lesser"))
	}
	return out
}

func (s Snapshot) alarms(grave bool) []Alarm {
	return slices.DeleteFunc(slices.Clone(s.Alarms), func(a Alarm) bool { return a.Grave() != grave })
}

// named is how many alarms a sentence names.
const named = 3

func alarmsSentence(alarms []Alarm, what string) string {
	names := make([]string, 0, named+1)
	for _, a := range alarms[:min(named, len(alarms))] {
		names = append(names, a.Condition+" on "+a.Object)
	}
	if more := len(alarms) - named; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	count, verb := "1 alarm", "is"
	if len(alarms) > 1 {
		count, verb = fmt.Sprintf("%d alarms", len(alarms)), "are"
	}
	if what == "lesser" {
		return fmt.Sprintf("%s of lesser severity %s active: %s.", count, verb, strings.Join(names, ", "))
	}
	return fmt.Sprintf("%s %s %s: %s.", count, verb, what, strings.Join(names, ", "))
}

func tells(n Node, reasons ...supervisor.Reason) bool {
	return slices.ContainsFunc(reasons, func(r supervisor.Reason) bool { return slices.Contains(n.Reasons, r) })
}
