package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// daemon answers the local API for a running node.
type daemon struct{ n *node }

var _ status.Daemon = (*daemon)(nil)

const lookLimit = 2 * time.Second

// look asks the core. A core that does not answer is a broken process: the zero answer shows as no primary.
func (d *daemon) look(f func(*supervisor.Core, supervisor.Now)) {
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	_ = d.n.runner.Look(ctx, f)
}

// Snapshot is the status document.
func (d *daemon) Snapshot() status.Snapshot {
	s := d.n.setup
	in := status.Input{
		Cluster: s.Cluster, Self: s.Self, Now: time.Now(), Preset: s.Preset, Stale: s.Timing.ReportStale,
		Budget: supervisor.Budget(s.SwitchoverBudget), Reports: map[supervisor.NodeID]status.Heard{},
	}
	for _, p := range prefixes(s) {
		in.Addresses = append(in.Addresses, p.String())
	}
	for _, v := range s.Voters() {
		voter := status.Voter{Node: v}
		if a := s.Nodes[v.ID].SIPAddress; a.IsValid() {
			voter.SIPAddress = a.String()
		}
		in.Nodes = append(in.Nodes, voter)
	}
	d.look(func(c *supervisor.Core, now supervisor.Now) {
		in.Leader, in.Record = c.Leader(), c.Record()
		for id, h := range c.Heard(now) {
			in.Reports[id] = status.Heard{Report: h.Report, Age: h.Age}
		}
		own := c.Report()
		own.LeaseLeft = c.LeaseLeft(now.Mono) // a report has what was left at the last event: here a yes rests on it
		in.Reports[s.Self] = status.Heard{Report: own}
		if s.SIPPassCheck && !s.Me().Witness {
			in.Silence = silenceFacts(c.Silence())
		}
	})
	d.n.facts(&in)
	return status.Build(in)
}

// History is the record's, oldest first.
func (d *daemon) History() []supervisor.Switchover {
	var r supervisor.Record
	d.look(func(c *supervisor.Core, _ supervisor.Now) { r = c.Record() })
	return r.History
}

// EndedAlarms are those of the record that have ended.
func (d *daemon) EndedAlarms() []supervisor.Alarm {
	var r supervisor.Record
	d.look(func(c *supervisor.Core, _ supervisor.Now) { r = c.Record() })
	return r.Alarms.Cleared
}

// Explain tells why the role is where it is, as this node sees it.
func (d *daemon) Explain() (e supervisor.Explanation) {
	d.look(func(c *supervisor.Core, now supervisor.Now) { e = c.Explain(now) })
	return e
}

// Switchover commits the next epoch and waits until its primary serves.
func (d *daemon) Switchover(ctx context.Context, o status.SwitchoverOrder) (status.SwitchoverResult, error) {
	began := time.Now()
	var entry supervisor.Entry
	var err error
	reason := o.Reason
	if reason == "" {
		reason = "asked for"
	}
	if look := d.n.runner.Look(ctx, func(c *supervisor.Core, now supervisor.Now) {
		entry, err = c.PlanSwitchover(now, o.To, reason, o.By)
	}); look != nil {
		return status.SwitchoverResult{}, look
	}
	if err == nil {
		err = d.propose(ctx, entry)
	}
	if err != nil {
		return status.SwitchoverResult{}, refusal(err)
	}
	epoch := entry.Role.Epoch
	for !d.serves(entry.Role.To, epoch) {
		select {
		case <-ctx.Done():
			return status.SwitchoverResult{}, &status.Error{Status: http.StatusGatewayTimeout, Message: string(entry.Role.To) + " was made primary, but does not serve yet",
				Hint: "look at `understudy status`"}
		case <-time.After(2 * time.Millisecond):
		}
	}
	return status.SwitchoverResult{Epoch: epoch, Took: time.Since(began)}, nil
}

func (d *daemon) serves(id supervisor.NodeID, epoch supervisor.Epoch) (yes bool) {
	d.look(func(c *supervisor.Core, now supervisor.Now) {
		r := c.Report()
		if id != d.n.setup.Self {
			r = c.Heard(now)[id].Report
		}
		yes = r.Epoch >= epoch && r.State == supervisor.Serving
	})
	return yes
}

// While nobody leads Raft, an order is asked for again and again for as long as an election may take.
const (
	electionPatience = 2 * time.Second
	askAgain         = 20 * time.Millisecond
)

// propose commits what an operator ordered. Nothing is asked for twice: only what was certainly not proposed is.
func (d *daemon) propose(ctx context.Context, entry supervisor.Entry) error {
	for began := time.Now(); ; {
		err := d.n.store.Propose(ctx, entry)
		if !errors.Is(err, raftstore.ErrNoLeader) || time.Since(began) > electionPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(askAgain):
		}
	}
}

// Pause suspends automatic switchovers on the whole pair.
func (d *daemon) Pause(ctx context.Context, p supervisor.Pause) error {
	return refusal(d.propose(ctx, supervisor.Entry{Pause: &supervisor.PauseEntry{At: time.Now(), Pause: p}}))
}

// Resume ends a pause.
func (d *daemon) Resume(ctx context.Context, _ string) error {
	return refusal(d.propose(ctx, supervisor.Entry{Resume: true}))
}

// refusal gives an error the HTTP status and the hint that its reader needs.
func refusal(err error) error {
	var unfit *supervisor.UnfitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unfit):
		return &status.Error{Status: http.StatusPreconditionFailed, Message: err.Error(), Hint: "`understudy status` shows when it is ready"}
	case errors.Is(err, supervisor.ErrNoChange), errors.Is(err, supervisor.ErrStaleEpoch), errors.Is(err, supervisor.ErrNoPrimary):
		return &status.Error{Status: http.StatusConflict, Message: err.Error(), Hint: "look at `understudy status` and ask again if it still makes sense"}
	case errors.Is(err, raftstore.ErrNoLeader), errors.Is(err, context.DeadlineExceeded):
		return &status.Error{Status: http.StatusServiceUnavailable, Message: "no majority of the nodes could be asked: " + err.Error(),
			Hint: "bring another node or the network between them back; nothing was changed as far as this node knows"}
	}
	return err
}
