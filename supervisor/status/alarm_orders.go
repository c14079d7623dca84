package status

import (
	"context"

	"github.com/understudy-sip/understudy/supervisor"
)

// AlarmDesk takes people's and programs' orders about alarms. Its methods may be called at the same time from several goroutines; as
// with Daemon, an *Error reaches the client as it is and ctx bounds the wait, not the change.
type AlarmDesk interface {
	RaiseAlarm(ctx context.Context, raise RaiseAlarm) error
	ClearAlarm(ctx context.Context, order AlarmOrder) error // an *Error with 404 if no such alarm is active
	AckAlarm(ctx context.Context, order AlarmOrder) error   // the same
}

// RaiseAlarm is a checked request to raise an alarm, or to count one more detection of an active one.
type RaiseAlarm struct {
	Condition string
	Object    string              // never empty
	Severity  supervisor.Severity // empty: the condition's
	Text      string              // empty: the condition's
	By        string              // who asked
}

// AlarmOrder is a checked request about the active alarm of a condition on an object.
type AlarmOrder struct {
	Condition string
	Object    string // never empty
	By        string // who asked
	Note      string // for people, may be empty
}

// RaiseAlarmRequest is the body of POST /v1/alarms/raise.
type RaiseAlarmRequest struct {
	Condition string              `json:"condition"`
	Object    string              `json:"object,omitempty"` // empty: this node
	Severity  supervisor.Severity `json:"severity,omitempty"`
	Text      string              `json:"text,omitempty"`
	By        string              `json:"by,omitempty"` // believed from root only
}

// AlarmOrderRequest is the body of POST /v1/alarms/clear and /v1/alarms/ack.
type AlarmOrderRequest struct {
	Condition string `json:"condition"`
	Object    string `json:"object,omitempty"` // empty: this node
	Note      string `json:"note,omitempty"`
	By        string `json:"by,omitempty"` // believed from root only
}

// AlarmOrderResponse is the answer of the three: which alarm was meant.
type AlarmOrderResponse struct {
	Condition string `json:"condition"`
	Object    string `json:"object"`
}

// AlarmsResponse is the answer of GET /v1/alarms: the active alarms of the pair, the gravest first; and of GET /v1/alarms/ended: the last
// of those that have ended, the newest end first.
type AlarmsResponse struct {
	Alarms []Alarm `json:"alarms"`
}

func (r RaiseAlarmRequest) check() *Error {
	if r.Severity != "" && r.Severity.Rank() <= 0 {
		return badRequest("the severities are critical, major, minor, warning and indeterminate", "%q is no severity to raise an alarm with", r.Severity)
	}
	if refusal := checkAlarm(r.Condition, r.Object); refusal != nil {
		return refusal
	}
	return checkLine("text", r.Text, supervisor.AlarmTextLimit)
}

func (r AlarmOrderRequest) check() *Error {
	if refusal := checkAlarm(r.Condition, r.Object); refusal != nil {
		return refusal
	}
	return checkLine("note", r.Note, maxReason)
}

func checkAlarm(condition, object string) *Error {
	switch {
	case condition == "":
		return badRequest("name it as `understudy alarm list` does", "the condition is missing")
	case !supervisor.AlarmName(condition):
		return badRequest("a condition is named with a-z, 0-9 and -", "%.80q is no name of a condition", condition)
	}
	return checkLine("object", object, supervisor.AlarmWhoLimit)
}
