package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// announceAgain bounds how often neighbours are told anew for one node's complaint.
const announceAgain = time.Second

// reannounce: somebody gets no answer from the service address although this node serves. A neighbour may believe that the address is
// where it was before, so all of them are told again before anybody judges.
func (c *Core) reannounce() {
	if c.state != Serving || c.now.Mono < c.nextAnnounce || !slices.ContainsFunc(c.serviceViews(), isDead) {
		return
	}
	c.nextAnnounce = c.now.Mono + announceAgain
	c.do(Announce{})
}

// judgePath moves the role off a primary whose lease is fine but whose SIP server nobody else reaches: when both other nodes look and
// both find the service address dead, and telling the neighbours again has not helped.
func (c *Core) judgePath() {
	now, t, p := c.now.Mono, c.opt.Timing, c.record.Primary
	if !c.pathLost() {
		c.pathLostAt = never
		return
	}
	if c.pathLostAt == never {
		c.pathLostAt = now
	}
	if now-c.pathLostAt < t.VantageEvery/2 || paused(c) || c.record.BudgetLeft(c.opt.Budget, c.now.Wall) == 0 {
		return
	}
	views := c.serviceViews()
	for _, n := range c.members() {
		if n != p && c.candidate(n) {
			c.propose(n, TriggerPath, fmt.Sprintf("%d nodes get no answer from the service address at %s: %s", len(views), p, views[0].Text))
		}
	}
}

// pathLost: the primary has served for a while and still does, its own probe gets answers, and all others find the service address dead.
// A server that does not answer on its own host is no matter of the path: its sidecar has the evidence and judges.
func (c *Core) pathLost() bool {
	now, t := c.now.Mono, c.opt.Timing
	settled := 2 * t.VantageSilence
	if now-c.epochAt < settled {
		return false
	}
	if c.isPrimary() {
		if c.state != Serving || isDead(c.sensed.Server) {
			return false
		}
	} else if p := c.peers[c.record.Primary]; c.fresh(p) && isDead(p.report.Server) {
		return false
	} else if c.vote.silent(now, t.Suspect) || c.vote.since == 0 || now-c.vote.since < settled {
		return false
	}
	views := c.serviceViews()
	return len(views) >= 2 && !slices.ContainsFunc(views, func(v View) bool { return !isDead(v) })
}

// serviceViews are what all but the primary see of the service address.
func (c *Core) serviceViews() []View {
	return c.views(c.record.Primary, func(r *Report) View { return r.Service }, c.sensed.Service)
}

func isDead(v View) bool { return v.Class == ClassDead }
