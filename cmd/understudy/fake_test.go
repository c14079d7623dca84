package main

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// fakeDaemon is a pair in memory.
type fakeDaemon struct {
	in      status.Input
	refusal error
}

func (f *fakeDaemon) Snapshot() status.Snapshot        { return status.Build(f.in) }
func (f *fakeDaemon) History() []supervisor.Switchover { return f.in.Record.History }

func (f *fakeDaemon) EndedAlarms() []supervisor.Alarm {
	var ended []supervisor.Alarm
	for _, a := range f.in.Alarms {
		if !a.Active() {
			ended = append(ended, a)
		}
	}
	return ended
}

func (f *fakeDaemon) Explain() supervisor.Explanation {
	return supervisor.Explanation{
		Node: "wit-1", Primary: "edge-a", Epoch: 7, Decision: "keep edge-a as primary of epoch 7",
		Facts: []supervisor.Fact{
			{About: "edge-a", From: "edge-a", What: "own probe", Says: "serving (200 in 0.3ms)", Vote: supervisor.VoteStay},
			{About: "edge-a", From: "wit-1", What: "probe of the service address", Says: "dead (no answer for 350ms)", Vote: supervisor.VoteMove},
			{From: "wit-1", What: "budget", Says: "3 of 3 judged switchovers left in 1h0m0s"},
		},
		Moves: []string{"an operator: understudy switchover"}, Holds: []string{"not moved by: a lost witness"},
	}
}

func (f *fakeDaemon) Switchover(_ context.Context, o status.SwitchoverOrder) (status.SwitchoverResult, error) {
	return status.SwitchoverResult{Epoch: f.in.Record.Epoch + 1, Took: 7300 * time.Microsecond}, f.refusal
}

func (f *fakeDaemon) Pause(_ context.Context, p supervisor.Pause) error {
	f.in.Record.Paused = p
	return f.refusal
}

func (f *fakeDaemon) Resume(context.Context, string) error {
	f.in.Record.Paused = supervisor.Pause{}
	return f.refusal
}

// fakeDesk takes orders about alarms, or refuses them as the engine does.
type fakeDesk struct{ refusal error }

func (f *fakeDesk) RaiseAlarm(context.Context, status.RaiseAlarm) error {
	return alarmRefusal(f.refusal)
}
func (f *fakeDesk) ClearAlarm(context.Context, status.AlarmOrder) error {
	return alarmRefusal(f.refusal)
}
func (f *fakeDesk) AckAlarm(context.Context, status.AlarmOrder) error { return alarmRefusal(f.refusal) }

// fakeContacts knows two phones.
type fakeContacts struct {
	contacts status.Contacts
	diff     status.ContactsDiff
	refusal  error
}

func (f *fakeContacts) Contacts(context.Context) status.Contacts { return f.contacts }

func (f *fakeContacts) ContactsOf(aor string) status.ContactsOf {
	of := status.ContactsOf{AOR: aor, Version: "41.1204", Contacts: []status.Contact{}}
	if q := 0.7; aor == "1001@sip.example.com" {
		of.Contacts = append(of.Contacts,
			status.Contact{URI: "sip:1001@192.0.2.7:5062", Expires: 3120, Received: "sip:203.0.113.9:31987", Instance: "<urn:uuid:1>", CallID: "a@b", CSeq: 7, UserAgent: "Desk 1", Node: "edge-a"},
			status.Contact{URI: "sip:1001@192.0.2.8;transport=tcp", Expires: 60, Q: &q, CSeq: 2, Connection: true, Node: "edge-b"})
	}
	return of
}

func (f *fakeContacts) DiffContacts(context.Context) (status.ContactsDiff, error) {
	return f.diff, f.refusal
}

func (f *fakeContacts) PurgeContacts(_ context.Context, o status.PurgeContacts) (status.ContactsOf, error) {
	return f.ContactsOf(o.AOR), f.refusal
}

// serve runs the local API of a daemon for one test and gives its socket.
func serve(t *testing.T, daemon status.Daemon, change ...func(*status.Server)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "u.sock")
	server, err := status.New(daemon, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(server)
	}
	listener, err := status.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// result is what a command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

// cli runs one command line in this process, on a host named edge-a.
func cli(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := newApp(&out, &errs)
	a.hostname = func() (string, error) { return "edge-a", nil }
	a.daemon = func(context.Context, context.Context, Boot) error { return nil }
	a.zone = time.UTC
	a.configDefault = "/nowhere/understudy.yaml" // whatever this host has
	code := a.run(t.Context(), args)
	return result{code, out.String(), errs.String()}
}

var busy = &status.Error{Status: http.StatusConflict, Message: "another switchover is under way", Hint: "wait for it"}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// pair is one in which edge-a serves and edge-b is ready.
func pair() status.Input {
	serving := supervisor.View{Class: supervisor.ClassServing, Code: 200, RTT: 312 * time.Microsecond, Text: "200 in 0.3ms"}
	report := func(id supervisor.NodeID, state supervisor.State, age time.Duration) status.Heard {
		return status.Heard{Age: age, Report: supervisor.Report{Node: id, Epoch: 41, State: state, Ready: true, Server: serving, Service: serving,
			ConfigHash: "9f31c2a0b1d4", Version: "0.1.0", Fence: supervisor.FenceNftables}}
	}
	a, b, w := report("edge-a", supervisor.Serving, 0), report("edge-b", supervisor.Following, 200*time.Millisecond),
		report("wit-1", supervisor.Witnessing, 400*time.Millisecond)
	a.LeaseLeft = 142 * time.Millisecond
	w.Members = map[supervisor.NodeID]supervisor.View{"edge-a": serving, "edge-b": serving}
	return status.Input{
		Cluster: "sip-edge", Self: "edge-a", Now: noon, Preset: supervisor.PresetDefault, Stale: 2 * time.Second,
		Budget:    supervisor.Budget{Count: 3, Per: time.Hour},
		Addresses: []string{"203.0.113.10/32", "2001:db8::10/128"},
		Nodes: []status.Voter{
			{Node: supervisor.Node{ID: "edge-a"}, SIPAddress: "192.0.2.11"},
			{Node: supervisor.Node{ID: "edge-b"}, SIPAddress: "192.0.2.12"},
			{Node: supervisor.Node{ID: "wit-1", Witness: true}, SIPAddress: "192.0.2.13"},
		},
		Leader: "wit-1",
		Record: supervisor.Record{Epoch: 41, Primary: "edge-a", Since: noon.Add(-28 * time.Hour), History: []supervisor.Switchover{
			{Epoch: 39, At: noon.Add(-300 * time.Hour), To: "edge-a", Trigger: supervisor.TriggerFirst, By: "wit-1"},
			{Epoch: 40, At: noon.Add(-80 * time.Hour), From: "edge-a", To: "edge-b", Trigger: supervisor.TriggerServer,
				Reason: "its SIP server is dead (refused)", By: "edge-a"},
			{Epoch: 41, At: noon.Add(-28 * time.Hour), From: "edge-b", To: "edge-a", Trigger: supervisor.TriggerOperator,
				Reason: "kernel update", By: "ann (root)"},
		}},
		Reports: map[supervisor.NodeID]status.Heard{"edge-a": a, "edge-b": b, "wit-1": w},
	}
}

// troubled is a pair in which much is wrong, with an answer of the SIP server that would play with a terminal.
func troubled() status.Input {
	in := pair()
	b := in.Reports["edge-b"]
	b.Ready, b.Reasons = false, []supervisor.Reason{supervisor.ReasonServerDead, supervisor.ReasonSIPNIC}
	b.Server = supervisor.View{Class: supervisor.ClassDead, Text: "refused \x1b[2J"}
	b.Fence = supervisor.FenceLifetime
	in.Reports["edge-b"] = b
	w := in.Reports["wit-1"]
	w.Age = 754 * time.Second
	in.Reports["wit-1"] = w
	in.Leader = "edge-b"
	in.Record.Paused = supervisor.Pause{Until: noon.Add(38 * time.Minute), Reason: "switch replacement in rack 4", By: "ann (root)"}
	return in
}

// dead is a pair without a primary.
func dead() status.Input {
	in := pair()
	in.Self = "edge-b"
	delete(in.Reports, "wit-1")
	a := in.Reports["edge-a"]
	a.Age = 4 * time.Second
	in.Reports["edge-a"] = a
	in.Leader = ""
	return in
}

// fresh is a pair that has never had a primary.
func fresh() status.Input {
	in := pair()
	in.Record = supervisor.Record{}
	for _, id := range []supervisor.NodeID{"edge-a", "edge-b"} {
		r := in.Reports[id]
		r.State, r.Epoch, r.Ready, r.LeaseLeft = supervisor.Vacant, 0, false, 0
		r.Reasons, r.Server = []supervisor.Reason{supervisor.ReasonServerStart}, supervisor.View{}
		in.Reports[id] = r
	}
	return in
}
