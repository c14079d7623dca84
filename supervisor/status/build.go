package status

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Input is what a daemon knows when somebody asks: its configuration, the role record and the last report of each node.
type Input struct {
	Cluster   string
	Self      supervisor.NodeID
	Now       time.Time // wall clock
	Preset    supervisor.Preset
	Stale     time.Duration // a report older than this says nothing any more (Timing.ReportStale)
	Budget    supervisor.Budget
	Addresses []string // service addresses as prefixes: "203.0.113.10/32"
	Nodes     []Voter  // in the order in which they shall be shown
	Leader    supervisor.NodeID
	Record    supervisor.Record
	Reports   map[supervisor.NodeID]Heard // with this node's own, whose Age is 0

	// What this node's sensors know; nil where it has none.
	AddressUp     *bool
	Devices       []Device
	Traffic       *Traffic
	Silence       *Silence
	NICs          []NIC
	Socket        *Socket
	Alarms        []supervisor.Alarm // of the table; those that have ended are left out
	PendingAlarms []supervisor.Alarm // not committed yet, without a number
}

// Voter is a node as configured.
type Voter struct {
	supervisor.Node
	SIPAddress string // empty: a witness that doesn't probe
}

// Heard is a report and how long ago it was received, by the receiver's clock.
type Heard struct {
	supervisor.Report
	Age time.Duration
}

// Build draws up the status document. It is pure: the same input gives the same document.
func Build(in Input) Snapshot {
	s := Snapshot{
		Cluster: in.Cluster, Node: in.Self, At: in.Now, Preset: in.Preset,
		Epoch: in.Record.Epoch, Primary: in.Record.Primary,
		Addresses:  notNull(in.Addresses),
		RaftLeader: in.Leader,
		Quorum:     Quorum{Of: len(in.Nodes)},
		Budget:     budgetOf(in),
		Problems:   []string{}, Notes: []string{},
		Nodes: make([]Node, 0, len(in.Nodes)),
	}
	if in.Record.Epoch > 0 {
		since := in.Record.Since
		s.Since = &since
	}
	if in.Record.PausedAt(in.Now) {
		pause := in.Record.Paused
		s.Paused = &pause
	}
	if h := in.Record.History; len(h) > 0 {
		last := h[len(h)-1]
		s.Last = &last
	}
	for _, v := range in.Nodes {
		n := nodeOf(v, in)
		if n.Heard {
			s.Quorum.Have++
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.addFacts(in)
	s.Problems = append(s.Problems, problems(s, in)...)
	s.Notes = append(s.Notes, notes(s)...)
	s.Verdict = Judge(s)
	return s
}

func nodeOf(v Voter, in Input) Node {
	n := Node{
		Name: v.ID, Witness: v.Witness, SIPAddress: v.SIPAddress, Role: supervisor.RoleNone, AgeMS: -1,
		Reasons: []supervisor.Reason{}, Members: map[string]View{},
		Server: viewOf(supervisor.View{}), Service: viewOf(supervisor.View{}),
		RaftLeader: in.Leader != "" && in.Leader == v.ID,
	}
	r, ok := in.Reports[v.ID]
	if !ok {
		return n
	}
	n.AgeMS = r.Age.Milliseconds()
	n.Heard = v.ID == in.Self || r.Age <= in.Stale
	n.Epoch, n.Fence, n.ConfigHash, n.Version = r.Epoch, r.Fence, r.ConfigHash, r.Version
	n.Server, n.Service = viewOf(r.Server), viewOf(r.Service)
	n.Reasons = append(n.Reasons, r.Reasons...)
	for id, view := range r.Members {
		n.Members[string(id)] = viewOf(view)
	}
	if !n.Heard {
		return n
	}
	n.Role, n.State, n.Ready = r.State.Role(), r.State, r.Ready
	n.ServiceAddress = n.Role == supervisor.RolePrimary
	n.LeaseLeftMS = millis(r.LeaseLeft)
	return n
}

func budgetOf(in Input) Budget {
	b := Budget{Left: in.Record.BudgetLeft(in.Budget, in.Now), Of: in.Budget.Count, PerMS: in.Budget.Per.Milliseconds()}
	if b.Left > 0 {
		return b
	}
	// The oldest of the newest Count automatic switchovers is the next to fall out of the period.
	used := 0
	for i := len(in.Record.History) - 1; i >= 0; i-- {
		h := in.Record.History[i]
		if !h.Trigger.Automatic() {
			continue
		}
		if used++; used == in.Budget.Count {
			next := h.At.Add(in.Budget.Per)
			b.Next = &next
			break
		}
	}
	return b
}
