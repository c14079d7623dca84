package status

import (
	"context"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Daemon is what the API serves. Its methods may be called at the same time from several goroutines.
//
// An order that is refused returns an *Error, which reaches the client as it is; any other error becomes 500. Orders return when the
// change is committed and, for a switchover, the new primary serves; ctx bounds that wait, not the change.
type Daemon interface {
	Snapshot() Snapshot
	History() []supervisor.Switchover // oldest first, as in the record
	EndedAlarms() []supervisor.Alarm  // in the order in which they ended
	Explain() supervisor.Explanation
	Switchover(ctx context.Context, order SwitchoverOrder) (SwitchoverResult, error)
	Pause(ctx context.Context, pause supervisor.Pause) error
	Resume(ctx context.Context, by string) error
}

// SwitchoverOrder is a checked request: To is a member that can take over right now, as far as the Snapshot knew.
type SwitchoverOrder struct {
	To     supervisor.NodeID
	Reason string // for people, may be empty
	By     string // who asked
}

// SwitchoverResult tells what a switchover did.
type SwitchoverResult struct {
	Epoch supervisor.Epoch // of the new primary
	Took  time.Duration    // from the order until the new primary served
}

// Error is a refusal: an HTTP status, what is wrong and what to do about it.
type Error struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }
