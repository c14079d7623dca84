package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
	"github.com/understudy-sip/understudy/supervisor/hook"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// node is one running node: its parts, in the order in which they are built.
type node struct {
	boot     Boot
	setup    *Setup
	log      *zap.Logger
	hooks    *hook.Queue
	store    *raftstore.Store
	runner   *supervisor.Runner
	ringer   *raw.Poller // wakes the core at its time
	raft     *raftLog
	address  address // nil at a witness
	senses   *senses
	probes   *probes
	alarms   *alarm.Engine
	commits  *alarmLog
	edges    *edges
	devices  *devices
	traffic  *observed
	owner    *addressWatch
	nics     *nics          // nil at a witness
	contacts *registrations // nil where nobody is to keep any
	api      net.Listener
}

// address is the effector of the service address, by netlink or by scripts.
type address interface {
	supervisor.Address
	CleanUp(context.Context) error
	Fence() supervisor.Fence
	Run(context.Context) error
}

const (
	leaveLimit   = 3 * time.Second  // for handing the role over
	drainLimit   = 10 * time.Second // for the hooks that follow
	proposeLimit = time.Second
	clockSkew    = 2 * time.Second // by which the nodes' clocks may differ without a word
)

// runNode is the daemon: it builds the parts, runs them and takes them down in the order that never leaves the address behind.
func runNode(orderly, now context.Context, boot Boot) error {
	n := &node{boot: boot, setup: boot.Setup, log: boot.Log}
	raisePriority(n.log)
	if err := n.build(orderly); err != nil {
		return errors.Join(err, n.close())
	}
	err := n.run(orderly, now)
	return errors.Join(err, n.close())
}

func (n *node) build(ctx context.Context) (err error) {
	s := n.setup
	post := func(ev supervisor.Event) { n.runner.Post(ev) }
	n.senses = newSenses(s.Me().Witness, post)
	if n.hooks, err = newHooks(s, n.hooked, n.log); err != nil {
		return err
	}
	fence := supervisor.FenceNone
	if !s.Me().Witness {
		if n.address, err = newAddress(s, n.senses.addressIs, n.log); err != nil {
			return err
		}
		// Whatever an earlier run left behind goes before anything else is done: there is no lease yet.
		if err = n.address.CleanUp(ctx); err != nil {
			return fmt.Errorf("clean up the service address: %w", err)
		}
		fence = n.address.Fence()
	}
	bootID := rand.Uint64() | 1
	if n.store, err = raftstore.Open(n.storeOptions(bootID)); err != nil {
		return err
	}
	n.raft = newRaftLog(n.store, post, proposeLimit, n.log)
	n.commits = &alarmLog{store: n.store, limit: proposeLimit}
	if n.alarms, err = newAlarms(s, n.commits, n.log); err != nil {
		return err
	}
	n.edges = newEdges(n.alarms.Post)
	if n.owner, err = newAddressWatch(s, n.address, n.senses, n.edges, n.log); err != nil {
		return err
	}
	if n.contacts, err = newRegistrations(s, n.log); err != nil {
		return err
	}
	if n.probes, err = newProbes(s, n.senses, n.edges, n.contacts.serverDied, n.log); err != nil {
		return err
	}
	if n.address != nil {
		n.address = &watchedAddress{address: n.address, monitor: n.owner.monitor, server: n.probes.own}
	}
	if !s.Me().Witness {
		if n.nics, err = newNICs(s, n.senses, n.edges, n.log); err != nil {
			return err
		}
	}
	if n.devices, err = newDevices(s, n.edges, n.hooks, n.log); err != nil {
		return err
	}
	if n.traffic, err = newObserved(s, n.devices, n.senses, n.probes.own, n.contacts.learner(), n.log); err != nil {
		return err
	}
	if n.ringer, err = raw.NewPoller(func() error { n.runner.Ring(); return nil }); err != nil {
		return err
	}
	n.runner = supervisor.NewRunner(supervisor.Options{
		Self: s.Self, Nodes: s.Voters(), Boot: bootID, Timing: s.Timing, OnQuorumLoss: supervisor.QuorumLoss(s.OnQuorumLoss),
		Budget: supervisor.Budget(s.SwitchoverBudget), Fence: fence, BindWait: time.Duration(s.SIPServer.BindWait), ConfigHash: s.Hash, Version: n.boot.Version,
	}, supervisor.Ports{
		Clock: clock, Wire: n.store, Log: n.raft, Address: n.address,
		Audience: &audience{node: s.Self, cluster: s.Cluster, log: n.log.Named("role"), hooks: n.hooks, changed: n.became},
		Alarm:    n.ringer.Alarm,
	})
	n.api, err = status.Listen(ctx, s.API.Socket)
	return err
}

func (n *node) close() error {
	var errs []error
	if n.api != nil {
		errs = append(errs, n.api.Close())
	}
	if n.ringer != nil {
		errs = append(errs, n.ringer.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return ignoreClosed(errors.Join(errs...))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (n *node) storeOptions(boot uint64) raftstore.Options {
	s := n.setup
	o := raftstore.Options{
		Self: s.Self, Boot: boot, Cluster: s.Cluster, Version: n.boot.Version, ConfigHash: s.Hash, Dir: s.StateDir,
		TLS: tlsFiles(s), Timing: s.Timing, Logger: n.log,
		OnMessage: func(from supervisor.NodeID, m supervisor.Message) {
			n.runner.Post(supervisor.Received{From: from, Message: m})
		},
		OnRecord: func(r supervisor.Record, synced bool) {
			n.runner.Post(supervisor.Applied{Record: r, Synced: synced})
			n.alarms.Applied(r.Alarms, alarm.Role{Primary: r.Primary, Synced: synced})
		},
		OnLeader: func(id supervisor.NodeID) { n.runner.Post(supervisor.Led{Leader: id}) },
		OnReport: func(r supervisor.Report) {
			n.runner.Post(supervisor.Reported{Report: r})
			n.owner.heard(r)
		},
		OnClock: func(id supervisor.NodeID, ahead time.Duration) {
			pair := both(s.Self, id)
			n.edges.level(ahead.Abs() > clockSkew, "clock-skew", pair,
				fmt.Sprintf("the clocks of %s differ by %v: pauses, budgets and the history go by them", pair, ahead.Abs().Round(time.Millisecond)), "")
		},
		OnPeer: func(id supervisor.NodeID, up bool) {
			n.log.Info("peer", zap.String("peer", string(id)), zap.Bool("up", up))
			if !up {
				n.runner.Post(supervisor.Lost{Node: id})
			}
		},
		OnStall: func(since time.Duration) {
			n.edges.level(since > 0, "disk-slow", string(s.Self), "a write to the state folder hangs", since.Round(time.Millisecond).String())
			if since == 0 {
				return // the store has said so
			}
			n.log.Error("a write to the state folder hangs; the role is safe, but can't change as long as two nodes hang", zap.Duration("took", since))
		},
		OnStore: func(err error) {
			if err != nil {
				n.log.Error("the state folder can't be used", zap.Error(err))
			}
			n.senses.store(err)
		},
	}
	if s.keepsContacts() {
		o.OnStream = func(ctx context.Context, from supervisor.NodeID, conn net.Conn) { n.contacts.serve(ctx, from, conn) }
	}
	for _, v := range s.Voters() {
		o.Nodes = append(o.Nodes, raftstore.Node{Node: v, Addr: s.Nodes[v.ID].Address.String()})
	}
	return o
}

func tlsFiles(s *Setup) raftstore.TLSFiles {
	return raftstore.TLSFiles{CA: s.TLS.CA, Cert: s.TLS.Cert, Key: s.TLS.Key}
}

// hooked tells of the end of an operator's program.
func (n *node) hooked(name string, _ hook.Event, r hook.Result) {
	if errors.Is(r.Err, context.Canceled) {
		return // this node ends
	}
	text := ""
	if r.Err != nil {
		text = fmt.Sprintf("the hook %s failed: %v", name, r.Err)
	}
	n.edges.level(r.Err != nil, "hook-failed", string(n.setup.Self)+" "+name, text, string(r.Output))
}

// became tells those parts that work differently on the primary.
func (n *node) became(b supervisor.Became) {
	if b.To.Role() == supervisor.RolePrimary {
		n.edges.tookOver()
	}
	n.probes.became(b)
	n.devices.became(b)
	n.contacts.became(b)
}

// prefixes are the service addresses as the effectors take them.
func prefixes(s *Setup) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range s.ServiceAddress.Addresses {
		ps = append(ps, p.Prefix)
	}
	return ps
}
