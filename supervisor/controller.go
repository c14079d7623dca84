package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// control is the controller: what the node that leads Raft does for the pair, on whichever node that is. It weighs reports; the lease
// itself needs nobody's judgement.
func (c *Core) control() {
	if c.leader != c.opt.Self || c.state == Starting {
		return
	}
	switch {
	case vacant(c):
		c.chooseFirst()
	case c.orphaned():
		c.adopt()
	default:
		c.judgePath()
	}
	c.place()
}

// chooseFirst names the first primary ever: the first fit member in configured order. It waits for the members before it takes the
// second choice.
func (c *Core) chooseFirst() {
	for i, n := range c.members() {
		if c.candidate(n) && (i == 0 || c.now.Mono-c.vote.free > 3*c.opt.Timing.Report) {
			c.propose(n, TriggerFirst, "no primary was ever chosen")
			return
		}
	}
}

// orphaned: this node will never answer the record's epoch again, nobody renews it, and no backup has claimed the next for a while.
func (c *Core) orphaned() bool {
	return closedHere(c) && c.vote.silent(c.now.Mono, 3*c.opt.Timing.Suspect) && c.state != Claiming && c.state != Serving
}

// adopt gives an orphaned role to whoever can serve, the other member first. In a pause it can only go back to its own primary.
func (c *Core) adopt() {
	for _, n := range c.members() {
		if n != c.record.Primary && c.candidate(n) && !paused(c) {
			c.propose(n, TriggerReleased, fmt.Sprintf("%s gave the role up or fell silent", c.record.Primary))
			return
		}
	}
	if c.candidate(c.record.Primary) {
		c.propose(c.record.Primary, TriggerReleased, "it gave the role up and no other member can serve")
	}
}

// place moves Raft leadership off the primary's host, best onto the backup: then neither the primary's death nor a witness's slow disk
// delays the next role change.
func (c *Core) place() {
	now, t := c.now.Mono, c.opt.Timing
	if now < c.nextTransfer || vacant(c) || now-c.epochAt < 2*t.Report {
		return
	}
	backup := NodeID("")
	for _, n := range c.members() {
		if n != c.record.Primary {
			backup = n
		}
	}
	if backup == c.opt.Self {
		return
	}
	to := NodeID("")
	for _, n := range c.others {
		p := c.peers[n.ID]
		if !c.fresh(p) || p.report.Epoch != c.record.Epoch || n.ID == c.record.Primary || slices.Contains(p.report.Reasons, ReasonStore) {
			continue
		}
		if n.ID == backup || to == "" && c.isPrimary() {
			to = n.ID
		}
	}
	if to != "" {
		c.nextTransfer = now + max(4*t.Report, 2*time.Second)
		c.do(Transfer{To: to})
	}
}

// members are the pair's members in configured order.
func (c *Core) members() []NodeID {
	var ms []NodeID
	for _, n := range c.opt.Nodes {
		if !n.Witness {
			ms = append(ms, n.ID)
		}
	}
	return ms
}

// candidate reports whether a member, this node or another, could be primary.
func (c *Core) candidate(id NodeID) bool {
	if id == c.opt.Self {
		return fit(c)
	}
	return c.memberFit(id)
}
