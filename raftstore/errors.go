package raftstore

import (
	"context"
	"errors"

	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// Why a proposal failed, besides the reasons of supervisor.Record.Apply.
var (
	ErrNoLeader       = errors.New("no node leads Raft now")                          // nothing was proposed
	ErrUnknownOutcome = errors.New("the proposal may or may not have been committed") // leadership was lost, or time ran out
	ErrClosed         = errors.New("the store is closed")
)

// codes are the names under which errors travel between nodes.
var codes = map[string]error{
	"stale-epoch": supervisor.ErrStaleEpoch,
	"paused":      supervisor.ErrPaused,
	"budget":      supervisor.ErrBudget,
	"no-change":   supervisor.ErrNoChange,
	"no-leader":   ErrNoLeader,
	"unknown":     ErrUnknownOutcome,

	"no-alarm":       supervisor.ErrNoAlarm,
	"alarms-full":    supervisor.ErrAlarmsFull,
	"alarm-repeated": supervisor.ErrAlarmRepeated,
	"alarm-entry":    supervisor.ErrAlarmEntry,
}

const codeOther = "other"

func codeOf(err error) (code, text string) {
	if err == nil {
		return "", ""
	}
	for code, sentinel := range codes {
		if errors.Is(err, sentinel) {
			return code, err.Error()
		}
	}
	return codeOther, err.Error()
}

// remoteError is an error that another node reported: its text, and the sentinel to compare it with.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func (a answer) err() error {
	if a.Code == "" {
		return nil
	}
	return &remoteError{text: a.Text, is: codes[a.Code]}
}

// fromRaft puts raft's errors into ours.
func fromRaft(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return &remoteError{text: ErrNoLeader.Error() + ": " + err.Error(), is: ErrNoLeader}
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		return &remoteError{text: ErrUnknownOutcome.Error() + ": " + err.Error(), is: ErrUnknownOutcome}
	}
	return err
}
