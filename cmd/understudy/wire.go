package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
	"github.com/understudy-sip/understudy/supervisor/hook"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/supervisor/status"
	"github.com/understudy-sip/understudy/vip"
)

// run starts the parts, waits for the end and takes them down: sensors first, then the role, then the address, then the store.
func (n *node) run(orderly, now context.Context) error {
	parts := newStages()
	parts.start("hooks", n.hooks.Run)
	parts.start("alarms", n.alarms.Run)
	parts.start("store", n.store.Run)
	if n.address != nil {
		parts.start("service address", n.address.Run)
	}
	parts.start("the core's alarm clock", n.ringer.Run)
	parts.start("core", n.runner.Run)
	if err := n.startSensors(parts); err != nil {
		return errors.Join(err, parts.stop())
	}
	api, err := status.New(&daemon{n: n}, n.log)
	if err != nil {
		return errors.Join(err, parts.stop())
	}
	api.Alarms = &alarmDesk{engine: n.alarms}
	if n.contacts != nil {
		api.Contacts = n.contacts.desk
	}
	parts.start("local API", func(ctx context.Context) error { return api.Run(ctx, n.api) })
	if err := n.serveMonitoring(parts); err != nil {
		return errors.Join(err, parts.stop())
	}
	parts.start("service manager", n.watch)
	watch := &conditions{setup: n.setup, edges: n.edges, alarms: n.alarms, contacts: n.contacts, look: (&daemon{n: n}).look}
	parts.start("conditions", watch.Run)

	select {
	case err = <-parts.failed:
	case <-orderly.Done():
		n.boot.Notify.Stopping()
		leave, cancel := context.WithTimeout(now, leaveLimit)
		if gone := n.runner.Leave(leave); gone != nil {
			n.log.Warn("left without handing the role over", zap.Error(gone))
		}
		cancel()
		drain, cancel := context.WithTimeout(now, drainLimit) // the hooks hear of the role that was just given up
		if err := n.hooks.Drain(drain); err != nil {
			n.log.Warn("left before the hooks were done", zap.Error(err))
		}
		cancel()
	}
	err = errors.Join(err, parts.stop())
	n.raft.tasks.Wait()
	n.commits.tasks.Wait()
	return err
}

// watch tells the service manager that this node is there, and that its loop turns.
func (n *node) watch(ctx context.Context) error {
	turning := func() bool {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return n.runner.Look(soon, func(*supervisor.Core, supervisor.Now) {}) == nil
	}
	if turning() {
		n.boot.Notify.Ready("running")
	}
	n.boot.Notify.Watch(ctx, turning)
	<-ctx.Done()
	return nil
}

func (n *node) startSensors(parts *stages) error {
	s := n.setup
	if n.probes.prober != nil {
		parts.start("probes", n.probes.prober.Run)
	}
	if n.owner.neighbours != nil {
		parts.start("neighbours", n.owner.neighbours.Run)
	}
	if s.Me().Witness {
		return nil
	}
	if n.owner.monitor != nil {
		parts.start("address monitor", n.owner.monitor.Run)
	}
	parts.start("SIP server", n.probes.own.Run)
	n.contacts.start(parts, n.store)
	parts.start("interfaces", n.nics.watcher.Run)
	parts.start("SIP traffic", n.traffic.monitor.Run)
	parts.start("what the traffic says", n.traffic.Run)
	if n.devices.checker != nil {
		parts.start("devices", n.devices.checker.Run)
	}
	return nil
}

func newHooks(s *Setup, done func(string, hook.Event, hook.Result), log *zap.Logger) (*hook.Queue, error) {
	return hook.New(hook.Options{
		OnPrimary: s.Hooks.OnPrimary, OnBackup: s.Hooks.OnBackup, Notify: s.Hooks.Notify, Limit: time.Duration(s.Hooks.Timeout),
		Done: done, Logger: log,
	})
}

func newAddress(s *Setup, report func(supervisor.AddressReport), log *zap.Logger) (address, error) {
	c := s.ServiceAddress
	if c.ControlVIPScripts {
		o := vip.DefaultScriptOptions()
		o.Up, o.Down, o.Addresses, o.Interface, o.Cluster = c.UpScript[0], c.DownScript[0], prefixes(s), s.Me().Interface, s.Cluster
		o.Limit, o.Clock, o.Exec, o.Report, o.Logger = time.Duration(c.ScriptTimeout), raw.Clock, runScript, report, log
		return vip.NewScript(o)
	}
	o := vip.DefaultOptions()
	o.Addresses, o.Interface, o.Cluster, o.Fence, o.Lease = prefixes(s), s.Me().Interface, s.Cluster, vip.FenceMode(c.Fence), s.Timing.Lease
	o.Announce = vip.Announce{Refresh: time.Duration(c.Announce.Refresh)}
	for _, d := range c.Announce.Schedule {
		o.Announce.Schedule = append(o.Announce.Schedule, time.Duration(d))
	}
	o.Clock, o.Report, o.Logger = raw.Clock, report, log
	return vip.New(o)
}

// runScript lets the address's scripts run as the hooks do.
func runScript(ctx context.Context, c vip.Command) vip.Result {
	r := runProgram(ctx, hook.Command{Argv: c.Argv, Env: c.Env, Limit: c.Limit})
	return vip.Result{Code: r.ExitCode, Output: string(r.Output), Err: r.Err}
}

// runReaction lets the programs of alarms run as the hooks do.
func runReaction(ctx context.Context, c alarm.Command) alarm.Result {
	r := runProgram(ctx, hook.Command{Argv: c.Argv, Env: c.Env, Stdin: c.Stdin, Limit: c.Limit})
	return alarm.Result{Code: r.ExitCode, Output: r.Output, Err: r.Err}
}

// runProgram runs one for those who judge its exit code themselves: that alone is no error.
func runProgram(ctx context.Context, c hook.Command) hook.Result {
	r := hook.Run(ctx, c)
	if r.ExitCode >= 0 && !r.TimedOut {
		r.Err = nil
	}
	return r
}
