package supervisor

import "time"

// A member whose SIP server can't listen gives the role to a member that can at once. If the other can't either, the role still moves
// between them: whichever can listen first serves, and a server that is only started, or only given its address, on the primary gets
// its chance.

// deafOnly reports whether another member has no fault but that nothing listens there.
func (c *Core) deafOnly(id NodeID) bool {
	p := c.peers[id]
	return p != nil && c.fresh(p) && p.report.State != Starting && len(p.report.Reasons) == 1 && p.report.Reasons[0] == ReasonListener
}

// myTurnIsOver: nothing listens on either member, and this one has had the role for long enough.
func myTurnIsOver(c *Core) bool {
	if len(c.sensed.Reasons) != 1 || c.sensed.Reasons[0] != ReasonListener || !c.deafOnly(c.otherMember()) {
		return false
	}
	wait := time.Duration(c.record.Factor(TriggerListener, c.opt.Self, c.opt.BindWait)) * c.opt.BindWait
	return c.opt.BindWait > 0 && c.now.Mono-max(c.sensed.Deaf, c.epochAt) >= wait
}

// canPassOn: this node can't serve, and somebody else can or may try.
func canPassOn(c *Core) bool { return otherFit(c) || myTurnIsOver(c) }

// period is that of the double-switchover rule for a trigger.
func (c *Core) period(t Trigger) time.Duration {
	switch t {
	case TriggerSilence:
		return c.sensed.Traffic.Period
	case TriggerListener:
		return c.opt.BindWait
	}
	return 0
}
