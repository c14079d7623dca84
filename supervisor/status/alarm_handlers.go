package status

import (
	"cmp"
	"context"
	"net/http"
)

func (s *Server) getAlarms(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, AlarmsResponse{Alarms: notNull(s.daemon.Snapshot().Alarms)})
}

func (s *Server) getEndedAlarms(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, AlarmsResponse{Alarms: endedAlarms(s.daemon.EndedAlarms())})
}

func (s *Server) postRaise(w http.ResponseWriter, r *http.Request) {
	var request RaiseAlarmRequest
	if err := s.readAlarm(w, r, &request, func() *Error { return request.check() }); err != nil {
		s.refuse(w, err)
		return
	}
	object := s.object(request.Object)
	s.carryOut(w, r, AlarmOrderResponse{request.Condition, object}, func(ctx context.Context) error {
		return s.Alarms.RaiseAlarm(ctx, RaiseAlarm{Condition: request.Condition, Object: object, Severity: request.Severity,
			Text: request.Text, By: asker(ctx, request.By)})
	})
}

func (s *Server) postClear(w http.ResponseWriter, r *http.Request) {
	s.postOrder(w, r, AlarmDesk.ClearAlarm)
}
func (s *Server) postAck(w http.ResponseWriter, r *http.Request) {
	s.postOrder(w, r, AlarmDesk.AckAlarm)
}

func (s *Server) postOrder(w http.ResponseWriter, r *http.Request, do func(AlarmDesk, context.Context, AlarmOrder) error) {
	var request AlarmOrderRequest
	if err := s.readAlarm(w, r, &request, func() *Error { return request.check() }); err != nil {
		s.refuse(w, err)
		return
	}
	object := s.object(request.Object)
	s.carryOut(w, r, AlarmOrderResponse{request.Condition, object}, func(ctx context.Context) error {
		return do(s.Alarms, ctx, AlarmOrder{Condition: request.Condition, Object: object, By: asker(ctx, request.By), Note: request.Note})
	})
}

// readAlarm reads a body, if there is anybody to take the order.
func (s *Server) readAlarm(w http.ResponseWriter, r *http.Request, into any, check func() *Error) error {
	if s.Alarms == nil {
		return &Error{Status: http.StatusNotImplemented, Message: "this daemon keeps no alarms"}
	}
	if err := readBody(w, r, into); err != nil {
		return err
	}
	return asError(check())
}

// object is what an alarm is about that names nothing.
func (s *Server) object(named string) string { return cmp.Or(named, string(s.daemon.Snapshot().Node)) }

func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, done AlarmOrderResponse, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.order)
	defer cancel()
	if err := do(ctx); err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, done)
}
