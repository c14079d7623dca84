package main

import (
	"errors"
	"fmt"

	"github.com/understudy-sip/understudy/supervisor/status"
)

// Exit codes. 1 and 2 mean what Nagios means by them where a verb looks at the pair; 64 and 78 are those of sysexits.h.
const (
	exitFailed      = 1
	exitUnreachable = 3
	exitUsage       = 64
	exitConfig      = 78
)

// exitError is an error with an exit code of its own; without Err, nothing is left to say.
type exitError struct {
	Code int
	Err  error
}

func (e *exitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

func (e *exitError) Unwrap() error { return e.Err }

// hinted is an error that says what to do.
type hinted struct {
	Err  error
	Hint string
}

func (h *hinted) Error() string { return h.Err.Error() }
func (h *hinted) Unwrap() error { return h.Err }

// report tells what went wrong and gives the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	code := exitFailed
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.Code
		if exit.Err == nil {
			return code
		}
	}
	var problems Problems
	var refusal *status.Error
	var unreachable *status.Unreachable
	var hint *hinted
	switch {
	case errors.As(err, &problems):
		problems.print(a.stderr)
		return code
	case errors.As(err, &refusal):
		a.complain(err, refusal.Hint)
	case errors.As(err, &unreachable):
		a.complain(err, unreachable.Hint)
		code = exitUnreachable
	case errors.As(err, &hint):
		a.complain(err, hint.Hint)
	default:
		a.complain(err, "")
	}
	return code
}

// complain writes what is wrong, and below it what to do.
func (a *app) complain(err error, hint string) {
	_, _ = fmt.Fprintf(a.stderr, "understudy: %s\n", printable(err.Error()))
	if hint != "" {
		_, _ = fmt.Fprintf(a.stderr, "  %s\n", printable(hint))
	}
}
