package status

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-sip/understudy/supervisor"
)

// fake is a daemon that keeps a pair in memory and does what it is told at once.
type fake struct {
	mu     sync.Mutex
	in     Input
	orders []SwitchoverOrder
	pauses []supervisor.Pause
	by     []string // who resumed
	err    error    // what the next order says
	block  bool     // the next order waits for its context
}

func newFake() *fake { return &fake{in: healthy()} }

func (f *fake) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Build(f.in)
}

func (f *fake) History() []supervisor.Switchover {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.in.Record.History
}

func (f *fake) EndedAlarms() []supervisor.Alarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.in.Alarms), supervisor.Alarm.Active)
}

func (f *fake) Explain() supervisor.Explanation {
	return supervisor.Explanation{Node: "edge-a", Primary: "edge-a", Epoch: 1, Decision: "keep edge-a as primary of epoch 1"}
}

func (f *fake) Switchover(ctx context.Context, order SwitchoverOrder) (SwitchoverResult, error) {
	if f.block {
		<-ctx.Done()
		return SwitchoverResult{}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return SwitchoverResult{}, f.err
	}
	f.orders = append(f.orders, order)
	return SwitchoverResult{Epoch: f.in.Record.Epoch + 1, Took: 7300 * time.Microsecond}, nil
}

func (f *fake) Pause(_ context.Context, pause supervisor.Pause) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.pauses = append(f.pauses, pause)
	f.in.Record.Paused = pause
	return nil
}

func (f *fake) Resume(_ context.Context, by string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.by = append(f.by, by)
	f.in.Record.Paused = supervisor.Pause{}
	return nil
}

var _ Daemon = (*fake)(nil)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// healthy is a pair in which edge-a serves, edge-b is ready and everybody hears everybody.
func healthy() Input {
	serving := supervisor.View{Class: supervisor.ClassServing, Code: 200, RTT: 312 * time.Microsecond, Text: "200 in 0.3ms"}
	report := func(id supervisor.NodeID, state supervisor.State) supervisor.Report {
		return supervisor.Report{Node: id, Epoch: 41, State: state, Service: serving, ConfigHash: "9f31c2a0b1d4", Version: "0.1.0",
			Fence: supervisor.FenceNftables, Members: map[supervisor.NodeID]supervisor.View{}}
	}
	a, b, w := report("edge-a", supervisor.Serving), report("edge-b", supervisor.Following), report("wit-1", supervisor.Witnessing)
	a.Ready, b.Ready, a.Server, b.Server, a.LeaseLeft = true, true, serving, serving, 142*time.Millisecond
	a.Members["edge-b"], b.Members["edge-a"], w.Members["edge-a"], w.Members["edge-b"] = serving, serving, serving, serving
	w.Fence = ""
	return Input{
		Cluster: "sip-edge", Self: "edge-a", Now: noon, Preset: supervisor.PresetDefault, Stale: 2 * time.Second,
		Budget:    supervisor.Budget{Count: 3, Per: time.Hour},
		Addresses: []string{"203.0.113.10/32", "2001:db8::10/128"},
		Nodes: []Voter{
			{Node: supervisor.Node{ID: "edge-a"}, SIPAddress: "192.0.2.11"},
			{Node: supervisor.Node{ID: "edge-b"}, SIPAddress: "192.0.2.12"},
			{Node: supervisor.Node{ID: "wit-1", Witness: true}, SIPAddress: "192.0.2.13"},
		},
		Leader: "wit-1",
		Record: supervisor.Record{Epoch: 41, Primary: "edge-a", Since: noon.Add(-28 * time.Hour), History: []supervisor.Switchover{
			{Epoch: 40, At: noon.Add(-80 * time.Hour), From: "edge-a", To: "edge-b", Trigger: supervisor.TriggerServer,
				Reason: "its SIP server is dead (refused)", By: "edge-a"},
			{Epoch: 41, At: noon.Add(-28 * time.Hour), From: "edge-b", To: "edge-a", Trigger: supervisor.TriggerOperator,
				Reason: "kernel update", By: "ann"},
		}},
		Reports: map[supervisor.NodeID]Heard{
			"edge-a": {Report: a}, "edge-b": {Report: b, Age: 200 * time.Millisecond}, "wit-1": {Report: w, Age: 400 * time.Millisecond},
		},
	}
}

// change replaces one node's report.
func change(in Input, id supervisor.NodeID, f func(*Heard)) Input {
	h := in.Reports[id]
	f(&h)
	in.Reports[id] = h
	return in
}

// desk takes orders about alarms and keeps them.
type desk struct {
	raised  []RaiseAlarm
	cleared []AlarmOrder
	acked   []AlarmOrder
	err     error
}

func (d *desk) RaiseAlarm(_ context.Context, r RaiseAlarm) error {
	d.raised = append(d.raised, r)
	return d.err
}

func (d *desk) ClearAlarm(_ context.Context, o AlarmOrder) error {
	d.cleared = append(d.cleared, o)
	return d.err
}

func (d *desk) AckAlarm(_ context.Context, o AlarmOrder) error {
	d.acked = append(d.acked, o)
	return d.err
}

var _ AlarmDesk = (*desk)(nil)

// watched is a logger whose lines can be counted.
func watched() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return zap.New(core), logs
}
