package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Node is a voter of the pair and where it is reached.
type Node struct {
	supervisor.Node
	Addr string // host:port, TCP and UDP; resolved again for every connection
}

// Options says what a Store is to be. The callbacks are optional; each may be called from several goroutines and must return soon:
// OnMessage holds up the lease messages of every node, OnRecord the Raft log.
type Options struct {
	Self       supervisor.NodeID
	Boot       uint64 // random number of this run of the process, never 0
	Cluster    string
	Version    string // of the program, shown to the others
	ConfigHash string // of the configuration, shown to the others
	Nodes      []Node // all three, this one included
	Listen     string // host:port; empty is the own Addr
	Dir        string // state folder, made if missing
	TLS        TLSFiles
	Timing     supervisor.Timing
	Logger     *zap.Logger

	// AcceptLoss is an operator's order, for when two nodes have lost their state and the third can't know whether it has everything:
	// this node votes again without having been brought up to date by both others. What only the lost state knew is gone.
	AcceptLoss bool

	OnMessage func(from supervisor.NodeID, m supervisor.Message) // an authenticated lease message
	OnRecord  func(r supervisor.Record, synced bool)             // every change in commit order, and again when synced turns true
	OnLeader  func(leader supervisor.NodeID)                     // every change, empty for none
	OnReport  func(r supervisor.Report)                          // another node's report
	OnClock   func(node supervisor.NodeID, ahead time.Duration)  // how far a node's wall clock is ahead of this one's, to half the round trip
	OnPeer    func(node supervisor.NodeID, up bool)              // the control stream to a node has come up or ended
	OnStall   func(since time.Duration)                          // a write to the state folder hangs, repeated every second; the process had better be restarted. 0: it has returned
	// OnStream gets a stream that the other member has opened, and returns when it is over. Without it there are none.
	OnStream func(ctx context.Context, from supervisor.NodeID, conn net.Conn)
	OnStore  func(err error) // the state folder can't be used, nil when it can again
}

func (o *Options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, checkName("cluster", o.Cluster))
	check(o.Boot != 0, "no boot number")
	check(o.Dir != "", "no state folder")
	check(o.Logger != nil, "no logger")
	check(o.TLS.CA != "" && o.TLS.Cert != "" && o.TLS.Key != "", "TLS needs the files of CA, certificate and key")
	check(o.Timing.RaftHeartbeat >= 10*time.Millisecond && o.Timing.RaftTransport > 0 && o.Timing.ReportStale > 0, "timers are missing")
	check(len(o.Nodes) == 3, "a pair has three nodes (two members and a witness), not %d", len(o.Nodes))
	ids, addrs := map[supervisor.NodeID]bool{}, map[string]bool{}
	for _, n := range o.Nodes {
		errs = append(errs, checkName("node", string(n.ID)))
		check(!ids[n.ID], "two nodes are named %q", n.ID)
		check(!addrs[n.Addr], "two nodes have the address %s", n.Addr)
		ids[n.ID], addrs[n.Addr] = true, true
		if _, _, err := net.SplitHostPort(n.Addr); err != nil {
			errs = append(errs, fmt.Errorf("address of %s: %w", n.ID, err))
		}
		if n.ID == o.Self && o.Listen == "" {
			o.Listen = n.Addr
		}
	}
	check(ids[o.Self], "this node %q is none of the nodes", o.Self)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("raftstore options: %w", err)
	}
	o.Logger = o.Logger.Named("raftstore")
	o.Nodes = slices.Clone(o.Nodes)
	slices.SortFunc(o.Nodes, func(a, b Node) int { return compareIDs(a.ID, b.ID) })
	o.fillCallbacks()
	return nil
}

func (o *Options) fillCallbacks() {
	if o.OnMessage == nil {
		o.OnMessage = func(supervisor.NodeID, supervisor.Message) {}
	}
	if o.OnRecord == nil {
		o.OnRecord = func(supervisor.Record, bool) {}
	}
	if o.OnLeader == nil {
		o.OnLeader = func(supervisor.NodeID) {}
	}
	if o.OnReport == nil {
		o.OnReport = func(supervisor.Report) {}
	}
	if o.OnClock == nil {
		o.OnClock = func(supervisor.NodeID, time.Duration) {}
	}
	if o.OnPeer == nil {
		o.OnPeer = func(supervisor.NodeID, bool) {}
	}
	if o.OnStall == nil {
		o.OnStall = func(time.Duration) {}
	}
	if o.OnStore == nil {
		o.OnStore = func(error) {}
	}
}

func (o *Options) roster() roster {
	r := roster{cluster: o.Cluster, self: o.Self, nodes: map[supervisor.NodeID]Node{}}
	for _, n := range o.Nodes {
		r.nodes[n.ID] = n
	}
	return r
}
