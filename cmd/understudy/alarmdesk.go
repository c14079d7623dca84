package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// alarmDesk carries out orders about alarms.
type alarmDesk struct{ engine *alarm.Engine }

var _ status.AlarmDesk = (*alarmDesk)(nil)

// RaiseAlarm raises an alarm by the name of its condition.
func (d *alarmDesk) RaiseAlarm(ctx context.Context, r status.RaiseAlarm) error {
	return alarmRefusal(d.engine.Raise(ctx, alarm.Event{
		Name: r.Condition, Object: r.Object, Severity: r.Severity, Text: r.Text, Evidence: "raised by " + r.By,
	}))
}

// ClearAlarm ends one by hand.
func (d *alarmDesk) ClearAlarm(ctx context.Context, o status.AlarmOrder) error {
	return alarmRefusal(d.engine.Clear(ctx, alarm.Target{Condition: o.Condition, Object: o.Object}, o.By, o.Note))
}

// AckAlarm says that somebody takes care of one.
func (d *alarmDesk) AckAlarm(ctx context.Context, o status.AlarmOrder) error {
	return alarmRefusal(d.engine.Acknowledge(ctx, alarm.Target{Condition: o.Condition, Object: o.Object}, o.By, o.Note))
}

// alarmRefusal gives an error the HTTP status and the hint that its reader needs.
func alarmRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, supervisor.ErrNoAlarm):
		return &status.Error{Status: http.StatusNotFound, Message: err.Error(), Hint: "`understudy alarm list` shows the active ones with their objects"}
	case errors.Is(err, alarm.ErrPending), errors.Is(err, alarm.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return &status.Error{Status: http.StatusServiceUnavailable, Message: err.Error(), Hint: "`understudy status` tells how many nodes are heard"}
	case errors.Is(err, supervisor.ErrAlarmsFull):
		return &status.Error{Status: http.StatusConflict, Message: err.Error(), Hint: "clear some: `understudy alarm list`"}
	}
	return &status.Error{Status: http.StatusBadRequest, Message: err.Error(), Hint: "`understudy alarm raise --help`"}
}
