package status

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Alarms are listed as the status has them, and orders reach the desk with the user that the kernel names.
func TestAPI_alarms(t *testing.T) {
	daemon := newFake()
	daemon.in = sensingSituations()["alarms"]
	var desk desk
	client, _ := serve(t, daemon, func(s *Server) { s.Alarms = &desk })
	alarms, err := client.Alarms(t.Context())
	if err != nil || !reflect.DeepEqual(alarms, daemon.Snapshot().Alarms) {
		t.Errorf("list: got %+v, %v", alarms, err)
	}
	done, err := client.RaiseAlarm(t.Context(), RaiseAlarmRequest{Condition: "cert-expiring", Severity: supervisor.SeverityMinor, Text: "in 7 days"})
	if want := (AlarmOrderResponse{Condition: "cert-expiring", Object: "edge-a"}); err != nil || done != want {
		t.Errorf("raise: got %+v, %v, want %+v", done, err, want)
	}
	if _, err = client.ClearAlarm(t.Context(), AlarmOrderRequest{Condition: "nic-down", Object: "edge-b", Note: "cable"}); err != nil {
		t.Error(err)
	}
	if _, err = client.AckAlarm(t.Context(), AlarmOrderRequest{Condition: "nic-down"}); err != nil {
		t.Error(err)
	}
	by := self(t)
	if want := []RaiseAlarm{{Condition: "cert-expiring", Object: "edge-a", Severity: supervisor.SeverityMinor, Text: "in 7 days", By: by}}; !reflect.DeepEqual(desk.raised, want) {
		t.Errorf("raised: got %+v, want %+v", desk.raised, want)
	}
	if want := []AlarmOrder{{Condition: "nic-down", Object: "edge-b", By: by, Note: "cable"}}; !reflect.DeepEqual(desk.cleared, want) {
		t.Errorf("cleared: got %+v, want %+v", desk.cleared, want)
	}
	if want := []AlarmOrder{{Condition: "nic-down", Object: "edge-a", By: by}}; !reflect.DeepEqual(desk.acked, want) {
		t.Errorf("acked: got %+v, want %+v", desk.acked, want)
	}
}

// What the desk refuses reaches the person; a daemon without one says so.
func TestAPI_alarmRefusals(t *testing.T) {
	refused := &Error{Status: http.StatusNotFound, Message: "no such alarm is active", Hint: "`understudy alarm list`"}
	for name, c := range map[string]struct {
		desk AlarmDesk
		want Error
	}{
		"refused": {&desk{err: refused}, *refused},
		"no desk": {nil, Error{Status: http.StatusNotImplemented, Message: "this daemon keeps no alarms"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := serve(t, newFake(), func(s *Server) { s.Alarms = c.desk })
			for _, order := range []func() (AlarmOrderResponse, error){
				func() (AlarmOrderResponse, error) {
					return client.RaiseAlarm(t.Context(), RaiseAlarmRequest{Condition: "nic-down"})
				},
				func() (AlarmOrderResponse, error) {
					return client.ClearAlarm(t.Context(), AlarmOrderRequest{Condition: "nic-down"})
				},
				func() (AlarmOrderResponse, error) {
					return client.AckAlarm(t.Context(), AlarmOrderRequest{Condition: "nic-down"})
				},
			} {
				_, err := order()
				var refusal *Error
				if !errors.As(err, &refusal) || *refusal != c.want {
					t.Errorf("got %#v, want %#v", err, c.want)
				}
			}
		})
	}
}

// Orders that cannot be meant never reach the desk.
func TestAPI_badAlarmOrders(t *testing.T) {
	var desk desk
	server, err := New(newFake(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	server.Alarms = &desk
	var text strings.Builder
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/alarms", `{}`},
		{"GET", "/v1/alarms/raise", ""},
		{"POST", "/v1/alarms/raise", ""},
		{"POST", "/v1/alarms/raise", `{"condition":"NIC down"}`},
		{"POST", "/v1/alarms/raise", `{"condition":"nic-down","severity":"bad"}`},
		{"POST", "/v1/alarms/raise", `{"condition":"nic-down","severity":"cleared"}`},
		{"POST", "/v1/alarms/raise", `{"condition":"nic-down","object":"a\nb"}`},
		{"POST", "/v1/alarms/raise", `{"condition":"nic-down","text":"` + strings.Repeat("x", supervisor.AlarmTextLimit+1) + `"}`},
		{"POST", "/v1/alarms/raise", `{"condition":"nic-down","note":"x"}`},
		{"POST", "/v1/alarms/clear", `{"condition":""}`},
		{"POST", "/v1/alarms/clear", `{"condition":"nic-down","note":"\u001b[2J"}`},
		{"POST", "/v1/alarms/ack", `{"condition":"nic-down","object":"` + strings.Repeat("x", supervisor.AlarmWhoLimit+1) + `"}`},
		{"POST", "/v1/alarms/ack", `[]`},
	} {
		recorder := newRecorder()
		request, err := http.NewRequest(c.method, "http://understudy"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		server.Handler().ServeHTTP(recorder, request)
		body := c.body
		if len(body) > 60 {
			body = body[:60] + "..."
		}
		text.WriteString(c.method + " " + c.path + " " + body + "\n  " + http.StatusText(recorder.status) + ": " + recorder.String())
	}
	golden(t, "bad-alarm-orders.txt", text.String())
	if len(desk.raised)+len(desk.cleared)+len(desk.acked) > 0 {
		t.Errorf("the desk got %+v", desk)
	}
}

// Those that have ended are listed by themselves, the newest end first, with how they ended.
func TestAPI_endedAlarms(t *testing.T) {
	daemon := newFake()
	at := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	daemon.in.Alarms = []supervisor.Alarm{
		{ID: 1, Condition: "nic-down", Object: "edge-a", ClearedAt: at, ClearedBy: "edge-a", Clearing: supervisor.AlarmCancelEvent},
		{ID: 2, Condition: "paused", Object: "sip-edge"},
		{ID: 3, Condition: "sip-path", Object: "sip-edge", ClearedAt: at.Add(time.Minute), ClearedBy: "ann", Clearing: supervisor.AlarmCancelHand, ClearNote: "cable"},
	}
	client, _ := serve(t, daemon, nil)
	got, err := client.EndedAlarms(t.Context())
	want := []Alarm{
		{ID: 3, Condition: "sip-path", Object: "sip-edge", Ended: &AlarmEnd{At: at.Add(time.Minute), By: "ann", How: supervisor.AlarmCancelHand, Note: "cable"}},
		{ID: 1, Condition: "nic-down", Object: "edge-a", Ended: &AlarmEnd{At: at, By: "edge-a", How: supervisor.AlarmCancelEvent}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
