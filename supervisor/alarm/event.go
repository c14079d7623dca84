package alarm

import (
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Event is something that a sensor, the core or a script has seen. It becomes an alarm if a condition says so.
type Event struct {
	Name     string              // "nic-down"
	ID       string              // its number, "00-52027"; empty: that of the name, if it has one
	Object   string              // the node, device or address that it is about; empty: Node
	Node     supervisor.NodeID   // the node that it is about; empty: this one
	Severity supervisor.Severity // empty: the condition's
	Text     string              // one sentence for people; empty: the condition's
	Evidence string              // figures that led to it
	At       time.Time           // zero: now

	CancelAfter time.Duration // the alarm's cancel timer; 0: the condition's
}

func (ev Event) is(word string) bool { return word != "" && (ev.Name == word || ev.ID == word) }

// eventWord reports whether s can be an event's name or number.
func eventWord(s string) bool {
	return s != "" && len(s) <= supervisor.AlarmNameLimit && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// numbers are those log event numbers of Genesys' SIP Server whose meaning is the same here, for conditions and scripts that were
// written for them.
var numbers = map[string]string{
	"sip-listener-missing":  "00-04200",
	"sip-server-terminated": "00-04200",
	"connection-lost":       "00-04504",
	"connection-made":       "00-04503",
	"changed-to-primary":    "00-05150",
	"changed-to-backup":     "00-05151",
	"nic-down":              "00-52027",
	"nic-up":                "00-52028",
	"vip-missing":           "00-52029",
	"vip-unexpected":        "00-52029",
	"vip-present":           "00-52030",
	"vip-absent":            "00-52030",
}

// normal fills in what an event leaves out.
func (ev Event) normal(self supervisor.NodeID, now time.Time) Event {
	if ev.ID == "" {
		ev.ID = numbers[ev.Name]
	}
	if ev.Node == "" {
		ev.Node = self
	}
	if ev.Object == "" {
		ev.Object = string(ev.Node)
	}
	if ev.At.IsZero() {
		ev.At = now
	}
	return ev
}
