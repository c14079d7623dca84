package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
)

const (
	conditionsEvery = time.Second
	noPrimaryAfter  = 5 * time.Second
	pauseEndsSoon   = 10 * time.Minute
	certificateSoon = 30 * 24 * time.Hour // a certificate that ends within this time is to be renewed
	certificateLook = time.Minute
)

// conditions watches what no single sensor can tell: the pair as a whole, as this node sees it.
type conditions struct {
	setup    *Setup
	edges    *edges
	look     func(func(*supervisor.Core, supervisor.Now))
	alarms   *alarm.Engine
	contacts *registrations

	vacantSince time.Time
	epoch       supervisor.Epoch
	lates       uint64
	looked      time.Time // when the certificate was looked at last
}

// Run looks once a second until ctx ends.
func (c *conditions) Run(ctx context.Context) error {
	tick := time.NewTicker(conditionsEvery)
	defer tick.Stop()
	for {
		c.judge()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// judge takes one look.
func (c *conditions) judge() {
	var (
		record supervisor.Record
		own    supervisor.Report
		heard  map[supervisor.NodeID]supervisor.HeardReport
		alive  []supervisor.NodeID // who gets answers from the service address
		dead   []supervisor.NodeID // and who doesn't
		now    supervisor.Now
		lates  uint64
	)
	c.look(func(core *supervisor.Core, at supervisor.Now) {
		record, own, heard, now = core.Record(), core.Report(), core.Heard(at), at
		alive, dead = core.PathViews()
		lates = core.Lates()
	})
	if own.Node == "" {
		return // the core did not answer; the service manager is told elsewhere
	}
	c.contacts.judge(c.edges, c.setup.Self)
	fresh := map[supervisor.NodeID]supervisor.Report{own.Node: own}
	for id, h := range heard {
		if h.Age <= c.setup.Timing.ReportStale {
			fresh[id] = h.Report
		}
	}
	c.quorum(len(fresh))
	c.primary(record, fresh, now)
	c.backup(record, fresh)
	c.policy(record, now)
	c.path(record, alive, dead)
	c.configuration(own, fresh)
	c.host(lates, now.Wall)
	role := alarm.Role{Primary: record.Primary, Synced: own.State != supervisor.Starting}
	if p, there := fresh[record.Primary]; !there || p.State.Role() != supervisor.RolePrimary {
		role.Primary = "" // whoever sees something tells of it
	}
	c.alarms.Applied(record.Alarms, role)
}

func (c *conditions) quorum(have int) {
	of, me := len(c.setup.Nodes), string(c.setup.Self)
	c.edges.level(have == of-1, "quorum-degraded", me, fmt.Sprintf("%s hears %d of %d nodes", me, have, of), "")
	c.edges.level(have < of/2+1, "quorum-lost", me, fmt.Sprintf("%s hears %d of %d nodes", me, have, of), "")
}

// primary: whether anybody serves, seen by those that hear a majority; the others know nothing of it.
func (c *conditions) primary(r supervisor.Record, fresh map[supervisor.NodeID]supervisor.Report, now supervisor.Now) {
	if len(fresh) < len(c.setup.Nodes)/2+1 {
		return
	}
	pair := c.setup.Cluster
	p, there := fresh[r.Primary]
	serves := there && p.State.Role() == supervisor.RolePrimary
	if serves {
		c.vacantSince = time.Time{}
	} else if c.vacantSince.IsZero() {
		c.vacantSince = now.Wall
	}
	c.edges.level(!serves && now.Wall.Sub(c.vacantSince) >= noPrimaryAfter, "no-primary", pair,
		fmt.Sprintf("nobody has served for %v", noPrimaryAfter), "")
	eligible := slices.ContainsFunc(c.setup.Voters(), func(v supervisor.Node) bool { return fresh[v.ID].Ready })
	c.edges.level(!eligible && !serves, "no-eligible-node", pair, "no member can serve", reasonsOf(fresh))
	if serves && c.setup.Self == r.Primary {
		reasons := p.Reasons
		c.edges.level(slices.Contains(reasons, supervisor.ReasonSilence), "sip-traffic-silent", pair,
			"no SIP message reaches the primary and nobody can take over", "")
		c.edges.level(len(r.Doubling[supervisor.TriggerSilence].Members) > 0, "backoff-active", pair,
			"the role went there and back for want of SIP traffic; it moves more slowly now", "")
	}
	if r.Epoch != c.epoch && c.epoch != 0 && c.setup.Self == r.Primary && serves {
		c.moved(r)
	}
	if serves || c.epoch == 0 {
		c.epoch = r.Epoch
	}
}

// moved tells of a switchover, once, at the new primary.
func (c *conditions) moved(r supervisor.Record) {
	last := r.History[len(r.History)-1]
	if last.From == last.To {
		return
	}
	text := fmt.Sprintf("%s took over from %s (%s): %s", last.To, last.From, last.Trigger, last.Reason)
	c.edges.event("role-changed", c.setup.Cluster, text)
	c.edges.event("changed-to-primary", string(last.To), text)
	c.edges.event("changed-to-backup", string(last.From), text)
}

// backup: whether the other member could take over, said by the primary.
func (c *conditions) backup(r supervisor.Record, fresh map[supervisor.NodeID]supervisor.Report) {
	if r.Primary != c.setup.Self {
		return
	}
	for _, v := range c.setup.Voters() {
		if v.ID == r.Primary { // an alarm that the other member raised when this one was the backup
			c.edges.level(false, "backup-not-ready", string(v.ID), "", "")
		}
		if v.Witness || v.ID == r.Primary {
			continue
		}
		b, there := fresh[v.ID]
		text := fmt.Sprintf("%s could not take over: it is not heard", v.ID)
		if there {
			text = fmt.Sprintf("%s could not take over: %v", v.ID, b.Reasons)
		}
		c.edges.state(!b.Ready, "backup-not-ready", string(v.ID), text, b.Server.Text)
	}
}

// policy: pause and budget, said by the primary; without one by everybody.
func (c *conditions) policy(r supervisor.Record, now supervisor.Now) {
	if r.Primary != c.setup.Self && r.Primary != "" {
		return
	}
	pair := c.setup.Cluster
	paused := r.PausedAt(now.Wall)
	c.edges.level(paused, "paused", pair, fmt.Sprintf("automatic switchovers are paused by %s until %s: %s", r.Paused.By,
		r.Paused.Until.Format(time.RFC3339), r.Paused.Reason), "")
	c.edges.level(paused && r.Paused.Until.Sub(now.Wall) < pauseEndsSoon, "pause-expiring", pair, "the pause ends at "+r.Paused.Until.Format(time.RFC3339), "")
	b := supervisor.Budget(c.setup.SwitchoverBudget)
	c.edges.level(r.BudgetLeft(b, now.Wall) == 0, "switchover-frozen", pair,
		fmt.Sprintf("%d automatic switchovers in %v: what others see of the service address no longer moves the role", b.Count, b.Per), "")
}

// path names who sees what, when somebody gets no answer from the service address; said by the primary.
func (c *conditions) path(r supervisor.Record, alive, dead []supervisor.NodeID) {
	if r.Primary != c.setup.Self {
		return
	}
	text := ""
	if len(dead) > 0 {
		text = fmt.Sprintf("%s gets no answer from the service address", joinNodes(dead))
		if len(alive) > 0 {
			text += fmt.Sprintf(", %s does", joinNodes(alive))
		}
	}
	c.edges.state(len(dead) > 0, "sip-path-doubted", c.setup.Cluster, text, "")
}

func (c *conditions) configuration(own supervisor.Report, fresh map[supervisor.NodeID]supervisor.Report) {
	for id, r := range fresh {
		if id != own.Node {
			c.edges.level(r.ConfigHash != own.ConfigHash, "config-mismatch", both(own.Node, id),
				fmt.Sprintf("the configurations of %s and %s differ", own.Node, id), own.ConfigHash+" and "+r.ConfigHash)
		}
	}
}

// host: what is wrong with this node's own host and files.
func (c *conditions) host(lates uint64, now time.Time) {
	me := string(c.setup.Self)
	if n := lates - c.lates; n > 0 {
		c.edges.event("loop-late", me, fmt.Sprintf("%s did not get the processor in time, %d times in the last second", me, n))
	}
	c.lates = lates
	if now.Sub(c.looked).Abs() < certificateLook {
		return
	}
	c.looked = now
	end, err := tlsFiles(c.setup).Expires()
	text := fmt.Sprintf("the certificate of %s expires on %s: make a new one with `understudy pki issue`", me, end.Format(time.DateOnly))
	if err != nil {
		text = fmt.Sprintf("the certificate of %s can't be read: %v", me, err)
	}
	c.edges.level(err != nil || end.Sub(now) < certificateSoon, "cert-expiring", me, text, "")
}

func reasonsOf(fresh map[supervisor.NodeID]supervisor.Report) string {
	var parts []string
	for id, r := range fresh {
		if len(r.Reasons) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %v", id, r.Reasons))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// both names two nodes, whichever of them speaks.
func both(x, y supervisor.NodeID) string { return fmt.Sprintf("%s and %s", min(x, y), max(x, y)) }

func joinNodes(ids []supervisor.NodeID) string { return strings.Join(toStrings(ids), " and ") }
