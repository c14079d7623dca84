package supervisor

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

func canVote(c *Core) bool      { return c.synced && c.now.Mono >= c.vote.free }
func isWitness(c *Core) bool    { return c.self.Witness }
func isMemberSelf(c *Core) bool { return !c.self.Witness }

func vacant(c *Core) bool     { return c.record.Primary == "" }
func namesMe(c *Core) bool    { return c.isPrimary() }
func namesOther(c *Core) bool { return !vacant(c) && !namesMe(c) }

// namesMeAfresh: the record names this node for an epoch that it has neither given up nor, in Claiming, found closed.
func namesMeAfresh(c *Core) bool {
	return namesMe(c) && c.lease.given < c.record.Epoch && !c.lease.barred
}

func superseded(c *Core) bool {
	return namesOther(c) || c.newest > c.record.Epoch
}

// renewed: the record names this node again, for a newer epoch than the one for which it holds the address.
func renewed(c *Core) bool {
	return !superseded(c) && namesMe(c) && c.record.Epoch > c.hold.Epoch
}

func currentMine(c *Core) bool { return !superseded(c) && !renewed(c) }

func leaseRuns(c *Core) bool { return c.lease.runs(c.now.Mono, c.record.Epoch) }
func demotes(c *Core) bool   { return c.opt.OnQuorumLoss != Cling }
func barred(c *Core) bool    { return c.lease.barred }

// barredLong gives the backup that closed the epoch the time to claim the next one.
func barredLong(c *Core) bool {
	return c.lease.barred && c.now.Mono-c.lease.barredAt > 2*c.opt.Timing.Suspect
}

func primarySilent(c *Core) bool { return c.vote.silent(c.now.Mono, c.opt.Timing.Suspect) }
func freedHere(c *Core) bool     { return c.freed >= c.record.Epoch }
func closedHere(c *Core) bool    { return c.vote.closed >= c.record.Epoch }

func majorityClosed(c *Core) bool {
	n := 1 // this node closes with the last answer that it needs
	for _, e := range c.closers {
		if e == c.record.Epoch {
			n++
		}
	}
	return n >= c.quorum()
}

// fit: this node can serve right now.
func fit(c *Core) bool {
	return !c.self.Witness && canVote(c) && !c.leaving && len(c.sensed.Reasons) == 0 && c.sensed.Server.Class == ClassServing
}

// paused: automatic switchovers are suspended, as far as this node's wall clock tells.
func paused(c *Core) bool { return c.record.PausedAt(c.now.Wall) }

// mayTake: this node can serve and automatic switchovers are not paused.
func mayTake(c *Core) bool { return fit(c) && !paused(c) }

// addressGone: the effector has said that the address is down, or whatever holds it has been fenced with the lease's end.
func addressGone(c *Core) bool {
	return c.down() || !c.hold.Held && c.now.Mono > c.heldUntil+c.opt.Timing.Lease+c.opt.Fence.Guard()
}

// mustYield: this node is primary and can't be any longer. Without anybody to take over it stays, except when it is being stopped.
func mustYield(c *Core) bool {
	if c.leaving {
		return true
	}
	t := c.trigger()
	if t == "" || paused(c) || !canPassOn(c) {
		return false
	}
	return !t.Judged() || c.record.BudgetLeft(c.opt.Budget, c.now.Wall) > 0
}

// trigger is the switchover that this node's own reasons ask for, or none. Draining does not: a server that is overloaded here would
// be overloaded there.
func (c *Core) trigger() Trigger {
	switch {
	case c.leaving:
		return TriggerLeave
	case c.feels(ReasonServerDead, ReasonServerHung):
		return TriggerServer
	case c.feels(ReasonNIC, ReasonSIPNIC):
		return TriggerNIC
	case c.feels(ReasonListener):
		return TriggerListener
	case c.feels(ReasonAddress):
		return TriggerAddress
	case silent(c):
		return TriggerSilence
	}
	return ""
}

// feels reports whether this node's sensors give any of these reasons.
func (c *Core) feels(rs ...Reason) bool {
	return slices.ContainsFunc(rs, func(r Reason) bool { return slices.Contains(c.sensed.Reasons, r) })
}

func otherFit(c *Core) bool { return c.memberFit(c.otherMember()) }

// otherMember is the member that is not this node (for a witness: the one that is not primary, in configured order).
func (c *Core) otherMember() NodeID {
	for _, n := range c.opt.Nodes {
		if !n.Witness && n.ID != c.opt.Self && (!c.self.Witness || n.ID != c.record.Primary) {
			return n.ID
		}
	}
	return ""
}

// memberFit reports whether another member could be primary: it says so, lately, and not everybody else finds its SIP server dead.
func (c *Core) memberFit(id NodeID) bool {
	p := c.peers[id]
	return p != nil && c.fresh(p) && p.report.Ready && !c.seenDead(id)
}

func (c *Core) fresh(p *peer) bool {
	return p.up && c.now.Mono-p.at <= c.opt.Timing.ReportStale
}

// seenDead reports whether all other nodes that look at a member's SIP server, and at least two, find it dead.
func (c *Core) seenDead(id NodeID) bool {
	dead := 0
	for _, v := range c.views(id, func(r *Report) View { return r.Members[id] }, c.sensed.Members[id]) {
		if !isDead(v) {
			return false
		}
		dead++
	}
	return dead >= 2
}

// views are what the nodes other than id see, as far as they look: own is this node's own view. It is asked for at every step, so it
// makes no list.
func (c *Core) views(id NodeID, of func(*Report) View, own View) iter.Seq2[NodeID, View] {
	return func(yield func(NodeID, View) bool) {
		if c.opt.Self != id && seen(own) && !yield(c.opt.Self, own) {
			return
		}
		for _, n := range c.others {
			p := c.peers[n.ID]
			if n.ID == id || !c.fresh(p) {
				continue
			}
			if v := of(&p.report); seen(v) && !yield(n.ID, v) {
				return
			}
		}
	}
}

func seen(v View) bool   { return v.Class != "" && v.Class != ClassUnknown }
func isDead(v View) bool { return v.Class == ClassDead }

func reason(c *Core) string {
	if n := len(c.record.History); n > 0 && c.newest <= c.record.Epoch {
		h := c.record.History[n-1]
		return fmt.Sprintf("%s, %s", h.Trigger, h.Reason)
	}
	return fmt.Sprintf("epoch %d is in force", c.newest)
}

func ownReasons(c *Core) string {
	if c.leaving {
		return string(ReasonLeaving)
	}
	if silent(c) && len(c.sensed.Reasons) == 0 {
		return fmt.Sprintf("no SIP message for %v, and no device that it checks answers", c.quiet().Round(100*time.Millisecond))
	}
	text := joinReasons(c.sensed.Reasons)
	if c.sensed.Server.Class != ClassServing && c.sensed.Server.Text != "" {
		text = strings.TrimPrefix(text+", "+c.sensed.Server.Text, ", ")
	}
	return text
}

func joinReasons(rs []Reason) string {
	texts := make([]string, len(rs))
	for i, r := range rs {
		texts[i] = string(r)
	}
	return strings.Join(texts, ", ")
}

func challengeOver(c *Core) string {
	switch {
	case !fit(c):
		return "this node can't serve: " + ownReasons(c)
	case !mayTake(c):
		return "automatic switchovers are paused"
	case !primarySilent(c):
		return "the primary is heard again"
	default:
		return reason(c)
	}
}

func leaseEnded(c *Core) string {
	return fmt.Sprintf("last answered renewal left %v ago", (c.now.Mono - c.lease.until + c.opt.Timing.Lease).Round(1e5))
}
