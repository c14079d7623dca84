package status

import (
	"cmp"
	"math"
	"slices"

	"github.com/understudy-sip/understudy/supervisor"
)

// addFacts takes over what this node's sensors know. The nodes must be there already.
func (s *Snapshot) addFacts(in Input) {
	s.AddressUp = copied(in.AddressUp)
	s.Devices = notNull(in.Devices)
	s.NICs = notNull(in.NICs)
	s.Traffic, s.Silence, s.Socket = copied(in.Traffic), copied(in.Silence), copied(in.Socket)
	if t := s.Traffic; t != nil && t.AnswerRatio != nil {
		ratio := math.Round(*t.AnswerRatio*10000) / 10000
		t.AnswerRatio = &ratio
	}
	if q := s.Silence; q != nil {
		self, _ := s.node(s.Node)
		q.Factor, q.NextMS = max(q.Factor, 1), -1
		if q.Watched && q.AllOut && self.Role == supervisor.RolePrimary {
			q.NextMS = max(0, int64(q.Factor)*q.PeriodMS-q.QuietMS)
		}
	}
	s.Alarms = alarmsOf(in)
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// alarmsOf lists the active alarms, the gravest first and of these the oldest, so that every node with the same table shows the same.
func alarmsOf(in Input) []Alarm {
	list := make([]Alarm, 0, len(in.Alarms)+len(in.PendingAlarms))
	for _, a := range in.Alarms {
		if a.Active() {
			list = append(list, alarmOf(a, false))
		}
	}
	for _, a := range in.PendingAlarms {
		if a.Active() {
			list = append(list, alarmOf(a, true))
		}
	}
	slices.SortStableFunc(list, func(a, b Alarm) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), a.First.Compare(b.First), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// endedAlarms are those that have ended, the newest end first.
func endedAlarms(all []supervisor.Alarm) []Alarm {
	list := make([]Alarm, 0, len(all))
	for _, a := range slices.Backward(all) {
		shown := alarmOf(a, false)
		shown.Ended = &AlarmEnd{At: a.ClearedAt, By: a.ClearedBy, How: a.Clearing, Note: a.ClearNote}
		list = append(list, shown)
	}
	return list
}

func alarmOf(a supervisor.Alarm, pending bool) Alarm {
	return Alarm{
		ID: a.ID, Condition: a.Condition, Object: a.Object, Severity: a.Severity, EventID: a.EventID, Text: a.Text, Evidence: a.Evidence,
		Node: a.Node, First: a.First, Last: a.Last, Count: a.Count, AckedBy: a.Acked.By, Pending: pending,
	}
}
