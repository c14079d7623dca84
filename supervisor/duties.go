package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// stand begins to ask for promises for the record's epoch.
func (c *Core) stand() {
	if c.lease.epoch != c.record.Epoch {
		c.lease.begin(c.record.Epoch, c.now.Mono)
	}
	c.lease.next = c.now.Mono
}

// restand asks on for promises after the lease ended or a claim for the next epoch came to nothing.
func (c *Core) restand() { c.lease.next = c.now.Mono }

// follow begins to listen for the primary's renewals.
func (c *Core) follow() { c.vote.heard = max(c.vote.heard, c.now.Mono) }

// challenge begins to ask the others to close the epoch.
func (c *Core) challenge() {
	clear(c.closers)
	c.nextClose = c.now.Mono
}

// closeOwn: a majority, with this node, never answers the epoch again.
func (c *Core) closeOwn() {
	c.vote.close(c.record.Epoch)
	c.nextPropose = c.now.Mono
}

// yield gives up the epoch for which this node holds or stands.
func (c *Core) yield() {
	c.lease.given = max(c.lease.given, c.hold.Epoch)
	if c.isPrimary() {
		c.lease.given = c.record.Epoch
	}
	c.vote.close(c.lease.given)
	c.nextFarewell, c.nextPropose, c.farewell, c.said = c.now.Mono, c.now.Mono, farewells, 0
	c.givenFor = TriggerReleased
	if t := c.trigger(); t != "" && c.isPrimary() {
		c.givenFor = t
	}
}

// duties is what a state does besides waiting: each has its own moment.
func (c *Core) duties() {
	switch c.state {
	case Standing, Serving, Clinging:
		c.renew()
	case Challenging:
		c.askClose()
	case Claiming:
		c.claim()
	case Yielding:
		c.handOver()
	}
	c.forget()
	c.reannounce()
	c.sayFarewell()
	c.control()
	if c.state == Clinging {
		c.level()
	}
}

// renew asks for promises, or, as long as nobody answers, whether anybody hears.
func (c *Core) renew() {
	now, t, l := c.now.Mono, c.opt.Timing, &c.lease
	if l.epoch != c.record.Epoch || l.given >= l.epoch {
		return
	}
	again := now < l.next
	switch {
	case !again:
		l.renewed, l.next, l.repeat = now, now+t.Renew, never
	case l.repeat != never && now >= l.repeat && slices.ContainsFunc(c.others, c.missed):
		l.repeat = never
	default:
		return
	}
	length := t.Promise(c.opt.Fence.Guard())
	m := Message{Kind: KindProbe, Epoch: l.epoch, Seq: l.send(now)}
	ready := l.hears(now, t) && (c.state != Standing || fit(c))
	if ready && c.earliest() <= now && c.vote.promise(now, c.opt.Self, l.epoch, c.record.Epoch, length) {
		m.Kind, m.Wait = KindRenew, length
		if !again {
			l.repeat = now + t.Renew/2
		}
	}
	for _, n := range c.others {
		if !again || c.missed(n) {
			c.send(n.ID, m)
		}
	}
	if m.Kind == KindProbe && ready {
		l.next = min(l.next, max(c.earliest(), now+t.Renew/8))
	}
}

// missed: a voter has not answered the last renewal, but did lately: a datagram was lost. Half-way to the next renewal it is asked again, so
// that a network that loses many of them costs no role.
func (c *Core) missed(n Node) bool {
	at := c.lease.acked[n.ID]
	return at < c.lease.renewed && at > 0 && c.now.Mono-at < c.opt.Timing.Lease
}

// earliest is when this node and enough of the others are free to promise, as far as known.
func (c *Core) earliest() time.Duration {
	own := c.now.Mono + c.vote.rest(c.now.Mono, c.opt.Self)
	var first time.Duration = -never
	for _, until := range c.lease.waits { // with three voters one other is enough: the first to be free of those that answer
		first = min(first, until)
	}
	if len(c.lease.waits) == 0 {
		first = 0
	}
	return max(own, first)
}

// askClose asks every voter but the primary never to answer the silent primary again.
func (c *Core) askClose() {
	if c.now.Mono < c.nextClose {
		return
	}
	c.nextClose = c.now.Mono + c.opt.Timing.Renew/4
	for _, n := range c.others {
		if n.ID != c.record.Primary {
			c.send(n.ID, Message{Kind: KindClose, Epoch: c.record.Epoch})
		}
	}
}

// claim asks for the next epoch. If Raft is led by the silent primary, or by nobody, it starts an election first.
func (c *Core) claim() {
	now, t := c.now.Mono, c.opt.Timing
	if (c.leader == "" || c.leader == c.record.Primary && !freedHere(c) && !c.isPrimary()) && now >= c.nextCampaign {
		c.nextCampaign = now + max(5*t.Renew, 100*time.Millisecond)
		c.do(Campaign{})
	}
	trigger, why := TriggerSilent, fmt.Sprintf("%s was silent for %v", c.record.Primary, t.Suspect)
	switch {
	case c.isPrimary():
		why = "its epoch was closed and nobody took the next"
	case freedHere(c):
		trigger, why = c.unjudged(c.freedFor), fmt.Sprintf("%s gave the role up", c.record.Primary)
		if p := c.peers[c.record.Primary]; p != nil && c.fresh(p) && len(p.report.Reasons) > 0 {
			why += fmt.Sprint(": ", p.report.Reasons)
		}
	}
	c.propose(c.opt.Self, trigger, why)
}

// propose asks for the next epoch, again and again until the record moves.
func (c *Core) propose(to NodeID, trigger Trigger, why string) {
	now := c.now.Mono
	if now < c.nextPropose {
		return
	}
	c.nextPropose = now + max(2*c.opt.Timing.Renew, 30*time.Millisecond)
	c.do(Propose{Entry{Role: &RoleEntry{
		Epoch: c.record.Epoch + 1, To: to, At: c.now.Wall, Trigger: trigger, Reason: why, By: string(c.opt.Self), Budget: c.opt.Budget,
		Period: c.period(trigger),
	}}})
}

// handOver asks for the next epoch in favour of the other member, while the address goes down here.
func (c *Core) handOver() {
	if c.lease.given != c.record.Epoch || !c.isPrimary() {
		return // the record has moved already
	}
	if other := c.otherMember(); c.memberFit(other) || c.givenFor == TriggerListener && c.deafOnly(other) {
		t := c.unjudged(c.givenFor)
		if t.Automatic() && paused(c) {
			return // the pause came after this node had given up: the role can only come back here
		}
		c.propose(other, t, fmt.Sprintf("%s: %s", c.opt.Self, ownReasons(c)))
	}
}

// unjudged is the trigger under which an epoch that was given up is passed on. Its primary has kept to the budget, or did not serve: a
// budget that is spent has nothing left to prevent, and must not keep the role with nobody.
func (c *Core) unjudged(t Trigger) Trigger {
	if t.Judged() && c.record.BudgetLeft(c.opt.Budget, c.now.Wall) == 0 {
		return TriggerReleased
	}
	return t
}

// sayFarewell tells the others that this node holds nothing of the epoch it gave up: never before the address is down. While the
// record still names this node it is repeated; afterwards a few times, because a datagram may be lost.
func (c *Core) sayFarewell() {
	if c.farewell == 0 || c.now.Mono < c.nextFarewell || !c.down() {
		return
	}
	c.nextFarewell = c.now.Mono + c.opt.Timing.Renew/2
	c.vote.release(c.now.Mono, c.lease.given)
	for _, n := range c.others {
		c.send(n.ID, Message{Kind: KindRelease, Epoch: c.lease.given, Seq: c.givenFor.number()})
	}
	c.said++
	if c.state != Yielding {
		c.farewell--
	}
}

// farewells is how often a release is repeated.
const farewells = 3
