package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"go.uber.org/zap"
)

// routes lists the API; what is not here is answered with 404 or 405.
func (s *Server) routes() map[string]map[string]http.HandlerFunc {
	return map[string]map[string]http.HandlerFunc{
		"/v1/status":     {http.MethodGet: s.getStatus},
		"/v1/history":    {http.MethodGet: s.getHistory},
		"/v1/explain":    {http.MethodGet: s.getExplain},
		"/v1/switchover": {http.MethodPost: s.postSwitchover},
		"/v1/pause":      {http.MethodPost: s.postPause},
		"/v1/resume":     {http.MethodPost: s.postResume},

		"/v1/alarms":       {http.MethodGet: s.getAlarms},
		"/v1/alarms/ended": {http.MethodGet: s.getEndedAlarms},
		"/v1/alarms/raise": {http.MethodPost: s.postRaise},
		"/v1/alarms/clear": {http.MethodPost: s.postClear},
		"/v1/alarms/ack":   {http.MethodPost: s.postAck},

		"/v1/contacts":       {http.MethodGet: s.getContacts},
		"/v1/contacts/aor":   {http.MethodGet: s.getContactsOf},
		"/v1/contacts/diff":  {http.MethodGet: s.getContactsDiff},
		"/v1/contacts/purge": {http.MethodPost: s.postPurge},
	}
}

// Handler is the API without its socket.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	routes := s.routes()
	for path, methods := range routes {
		for method, handle := range methods {
			mux.HandleFunc(method+" "+path, handle)
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		methods, known := routes[r.URL.Path]
		if !known {
			s.refuse(w, &Error{Status: http.StatusNotFound, Message: "there is no " + r.URL.Path,
				Hint: "GET /v1/status, GET /v1/history, GET /v1/explain, GET /v1/alarms, GET /v1/alarms/ended, POST /v1/switchover, POST /v1/pause, " +
					"POST /v1/resume, POST /v1/alarms/{raise,clear,ack}, GET /v1/contacts, GET /v1/contacts/{aor,diff}, POST /v1/contacts/purge"})
			return
		}
		for method := range methods {
			w.Header().Set("Allow", method)
			s.refuse(w, &Error{Status: http.StatusMethodNotAllowed, Message: r.URL.Path + " answers " + method + ", not " + r.Method})
		}
	})
	return mux
}

func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, s.daemon.Snapshot())
}

func (s *Server) getHistory(w http.ResponseWriter, _ *http.Request) {
	history := notNull(s.daemon.History())
	s.answer(w, http.StatusOK, HistoryResponse{History: history})
}

func (s *Server) getExplain(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, explained(s.daemon))
}

// notNull is a copy that JSON writes as a list, also when there is nothing in it.
func notNull[T any](list []T) []T { return append([]T{}, list...) }

// explained has no null lists.
func explained(d Daemon) supervisor.Explanation {
	e := d.Explain()
	e.Facts, e.Moves, e.Holds = notNull(e.Facts), notNull(e.Moves), notNull(e.Holds)
	return e
}

func (s *Server) postSwitchover(w http.ResponseWriter, r *http.Request) {
	var request SwitchoverRequest
	if err := readBody(w, r, &request); err != nil {
		s.refuse(w, err)
		return
	}
	if err := errors.Join(asError(checkLine("node name", string(request.To), maxName)),
		asError(checkLine("reason", request.Reason, maxReason))); err != nil {
		s.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.order)
	defer cancel()
	before := s.withLeader(ctx)
	to, plan, refusal := PlanSwitchover(before, request.To)
	if refusal != nil {
		s.refuse(w, refusal)
		return
	}
	response := SwitchoverResponse{From: before.Primary, To: to, Epoch: before.Epoch + 1, DryRun: request.DryRun, Steps: plan}
	if request.DryRun {
		s.answer(w, http.StatusOK, response)
		return
	}
	result, err := s.daemon.Switchover(ctx, SwitchoverOrder{To: to, Reason: request.Reason, By: asker(r.Context(), request.By)})
	if err != nil {
		s.refuse(w, err)
		return
	}
	response.Epoch, response.TookMS = result.Epoch, millis(result.Took)
	s.answer(w, http.StatusOK, response)
}

// An election takes a moment, and one follows every switchover: an order waits for it rather than be refused.
const (
	leaderPatience = 2 * time.Second
	leaderLook     = 20 * time.Millisecond
)

// withLeader is the status once a Raft leader is known, or after a while without one.
func (s *Server) withLeader(ctx context.Context) Snapshot {
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	for {
		now := s.daemon.Snapshot()
		if now.RaftLeader != "" || now.Quorum.Lost() {
			return now
		}
		select {
		case <-ctx.Done():
			return now
		case <-time.After(leaderLook):
		}
	}
}

func (s *Server) postPause(w http.ResponseWriter, r *http.Request) {
	var request PauseRequest
	if err := readBody(w, r, &request); err != nil {
		s.refuse(w, err)
		return
	}
	length, refusal := request.check()
	if refusal != nil {
		s.refuse(w, refusal)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.order)
	defer cancel()
	until := s.daemon.Snapshot().At.Add(length)
	pause := supervisor.Pause{Until: until, Reason: request.Reason, By: asker(ctx, request.By)}
	if err := s.daemon.Pause(ctx, pause); err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, pause)
}

func (s *Server) postResume(w http.ResponseWriter, r *http.Request) {
	var request ResumeRequest
	if err := readBody(w, r, &request); err != nil {
		s.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.order)
	defer cancel()
	was := s.daemon.Snapshot().Paused != nil
	if err := s.daemon.Resume(ctx, asker(ctx, request.By)); err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, http.StatusOK, ResumeResponse{WasPaused: was})
}

// readBody takes exactly one JSON object with known keys; an empty body is an empty object.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is longer than %d octets", maxBody)}
	case err != nil:
		return badRequest("send one JSON object with the documented keys", "the body cannot be read: %v", err)
	}
	return nil
}

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
	case errors.Is(err, context.DeadlineExceeded):
		refusal = &Error{Status: http.StatusGatewayTimeout, Message: "not done in time; it may still happen",
			Hint: "`understudy status` and `understudy history` tell whether it did"}
	default:
		s.log.Error("order failed", zap.Error(err))
		refusal = &Error{Status: http.StatusInternalServerError, Message: err.Error(), Hint: "the daemon's log may tell more"}
	}
	s.answer(w, refusal.Status, refusal)
}

func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	writeJSON(w, s.log, status, body)
}

func writeJSON(w http.ResponseWriter, log *zap.Logger, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		log.Error("answer not encoded", zap.Error(err))
		http.Error(w, `{"error":"the answer cannot be encoded"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that went away needs no answer
}
