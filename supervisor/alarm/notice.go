package alarm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// What a Notice tells.
const (
	Raised  = "alarm-raised"
	Cleared = "alarm-cleared"
)

// Notice is what a reaction tells, as JSON where it tells JSON.
type Notice struct {
	Event     string              `json:"event"` // Raised, Cleared
	Cluster   string              `json:"cluster"`
	Node      supervisor.NodeID   `json:"node"` // that tells
	At        time.Time           `json:"at"`   // when the alarm was raised or ended
	Perceived supervisor.Severity `json:"perceived_severity"`
	Why       string              `json:"why"`     // one sentence for people
	Pending   bool                `json:"pending"` // no majority could be asked: only this node knows of it, and the alarm has no number
	Alarm     supervisor.Alarm    `json:"alarm"`
}

func (n Notice) phase() phase {
	if n.Event == Cleared {
		return ends
	}
	return begins
}

// phase is one of the two moments of an alarm at which reactions run.
type phase int

const (
	begins phase = iota
	ends
)

func notice(o *Options, p phase, a supervisor.Alarm, pending bool) Notice {
	n := Notice{
		Event: Raised, Cluster: o.Cluster, Node: o.Self, At: a.First, Perceived: a.Severity, Pending: pending, Alarm: a,
		Why: fmt.Sprintf("%s on %s: %s", a.Condition, a.Object, a.Text),
	}
	if p == ends {
		n.Event, n.At, n.Perceived = Cleared, a.ClearedAt, supervisor.SeverityCleared
		n.Why = fmt.Sprintf("%s on %s ended", a.Condition, a.Object)
		switch a.Clearing {
		case supervisor.AlarmCancelHand:
			n.Why += ": cleared by " + a.ClearedBy
		case supervisor.AlarmCancelTime:
			n.Why += " by time"
		case supervisor.AlarmDisplaced:
			n.Why += ": the table was full"
		default:
			if a.ClearNote != "" {
				n.Why += ": " + a.ClearNote
			}
		}
	}
	return n
}

// body is the notice as JSON.
func (n Notice) body() ([]byte, error) {
	b, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode the notice: %w", err)
	}
	return append(b, '\n'), nil
}

func (n Notice) environ() []string {
	a := n.Alarm
	return []string{
		"UNDERSTUDY_EVENT=" + n.Event,
		"UNDERSTUDY_CLUSTER=" + n.Cluster,
		"UNDERSTUDY_NODE=" + string(n.Node),
		"UNDERSTUDY_WHY=" + n.Why,
		"UNDERSTUDY_ALARM=" + a.Condition,
		"UNDERSTUDY_ALARM_ID=" + strconv.FormatUint(a.ID, 10),
		"UNDERSTUDY_ALARM_OBJECT=" + a.Object,
		"UNDERSTUDY_ALARM_SEVERITY=" + string(n.Perceived),
		"UNDERSTUDY_ALARM_EVENT_ID=" + a.EventID,
		"UNDERSTUDY_ALARM_TEXT=" + a.Text,
		"UNDERSTUDY_ALARM_NODE=" + string(a.Node),
	}
}
