package status

import (
	"fmt"
	"net/http"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-sip/understudy/supervisor"
)

// Limits of what an order may say.
const (
	maxReason = 200 // octets
	maxName   = 63  // octets
	MinPause  = time.Minute
	MaxPause  = 7 * 24 * time.Hour
)

// SwitchoverRequest is the body of POST /v1/switchover.
type SwitchoverRequest struct {
	To     supervisor.NodeID `json:"to,omitempty"` // empty: the other member
	Reason string            `json:"reason,omitempty"`
	By     string            `json:"by,omitempty"` // believed from root only
	DryRun bool              `json:"dry_run,omitempty"`
}

// SwitchoverResponse is its answer. A dry run says what would happen and changes nothing: its epoch is the one that would come.
type SwitchoverResponse struct {
	From   supervisor.NodeID `json:"from"`
	To     supervisor.NodeID `json:"to"`
	Epoch  supervisor.Epoch  `json:"epoch"`
	TookMS float64           `json:"took_ms"`
	DryRun bool              `json:"dry_run"`
	Steps  []string          `json:"steps"` // sentences
}

// PauseRequest is the body of POST /v1/pause. For is a Go duration: "2h", "45m".
type PauseRequest struct {
	For    string `json:"for"`
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
}

// ResumeRequest is the body of POST /v1/resume.
type ResumeRequest struct {
	By string `json:"by,omitempty"`
}

// ResumeResponse is its answer.
type ResumeResponse struct {
	WasPaused bool `json:"was_paused"`
}

// HistoryResponse is the answer of GET /v1/history, oldest first.
type HistoryResponse struct {
	History []supervisor.Switchover `json:"history"`
}

func badRequest(hint, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// check gives the length of the pause, or what is wrong with the request.
func (r PauseRequest) check() (time.Duration, *Error) {
	d, err := time.ParseDuration(r.For)
	switch {
	case r.For == "":
		return 0, badRequest("say for how long: 45m, 2h", "a pause needs an end")
	case err != nil:
		return 0, badRequest("write it as 45m, 2h or 1h30m", "%q is not a duration", r.For)
	case d < MinPause || d > MaxPause:
		return 0, badRequest("pause again when it has run out", "a pause lasts from %s to %s, not %s", Span(MinPause), Span(MaxPause), r.For)
	case r.Reason == "":
		return 0, badRequest("whoever reads the status at 03:00 wants to know why", "a pause needs a reason")
	}
	return d, checkLine("reason", r.Reason, maxReason)
}

// checkLine refuses what would spoil a line of a table or a log.
func checkLine(what, text string, limit int) *Error {
	if len(text) > limit {
		return badRequest("make it shorter", "the %s is longer than %d octets", what, limit)
	}
	if !utf8.ValidString(text) {
		return badRequest("use UTF-8", "the %s is not valid UTF-8", what)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return badRequest("write it in one line of plain text", "the %s contains the character %q", what, r)
		}
	}
	return nil
}
