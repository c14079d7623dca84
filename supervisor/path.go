package supervisor

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// announceAgain bounds how often neighbours are told anew, and the own server is looked at, for one node's complaint. Whoever complains again soon
// afterwards must not be judged by what was seen before.
const announceAgain = 250 * time.Millisecond

// reannounce: somebody gets no answer from the service address although this node serves. A neighbour may believe that the address is
// where it was before, so all of them are told again before anybody judges.
func (c *Core) reannounce() {
	if c.state != Serving || c.now.Mono < c.nextAnnounce {
		return
	}
	if dead, _ := c.doubts(); dead == 0 {
		return
	}
	c.nextAnnounce = c.now.Mono + announceAgain
	c.do(Announce{})
}

// judgePath moves the role off a primary whose lease is fine but whose SIP server nobody else reaches: when both other nodes look and both
// find the service address dead, and telling the neighbours again has not helped. It waits until whoever was told has asked again and could
// have been answered.
func (c *Core) judgePath() {
	now, t, p := c.now.Mono, c.opt.Timing, c.record.Primary
	if !c.pathLost() {
		c.pathLostAt = never
		return
	}
	if c.pathLostAt == never {
		c.pathLostAt = now
	}
	if now-c.pathLostAt < t.VantageEvery*5/4 || paused(c) || c.record.BudgetLeft(c.opt.Budget, c.now.Wall) == 0 {
		return
	}
	for _, n := range c.members() {
		if n != p && c.candidate(n) {
			dead, text := c.doubts()
			c.propose(n, TriggerPath, fmt.Sprintf("%d nodes get no answer from the service address at %s: %s", dead, p, text))
		}
	}
}

// pathLost: the primary has served for a while and still does, its own probe gets answers and did for as long as others may have waited for
// theirs, and all others find the service address dead.
// A server that does not answer on its own host, or is too busy to answer everybody, is no matter of the path: its sidecar has the evidence
// and judges.
func (c *Core) pathLost() bool {
	now, t := c.now.Mono, c.opt.Timing
	settled := 2 * t.VantageSilence
	if now-c.epochAt < settled {
		return false
	}
	server := c.sensed.Server
	if !c.isPrimary() {
		if c.vote.silent(now, t.Suspect) || c.vote.since == 0 || now-c.vote.since < settled {
			return false
		}
		server = View{}
		if p := c.peers[c.record.Primary]; c.fresh(p) {
			server = p.report.Server
		}
	} else if c.state != Serving {
		return false
	}
	if isDead(server) || server.Busy {
		c.serverAt = now
	}
	if now-c.serverAt < t.VantageSilence { // the others find out later that it answers again
		return false
	}
	looking := 0
	for _, v := range c.serviceViews() {
		if !isDead(v) {
			return false
		}
		looking++
	}
	return looking >= 2
}

// doubts is how many find the service address dead, and what the first of them says.
func (c *Core) doubts() (dead int, text string) {
	for _, v := range c.serviceViews() {
		if isDead(v) {
			if dead++; dead == 1 {
				text = v.Text
			}
		}
	}
	return dead, text
}

// PathViews tells who gets answers from the service address and who does not, of those that look, each by name.
func (c *Core) PathViews() (alive, dead []NodeID) {
	for id, v := range c.serviceViews() {
		if isDead(v) {
			dead = append(dead, id)
		} else {
			alive = append(alive, id)
		}
	}
	slices.Sort(alive)
	slices.Sort(dead)
	return alive, dead
}

// serviceViews are what all but the primary see of the service address.
func (c *Core) serviceViews() iter.Seq2[NodeID, View] {
	return c.views(c.record.Primary, func(r *Report) View { return r.Service }, c.sensed.Service)
}
