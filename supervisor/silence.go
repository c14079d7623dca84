package supervisor

import "time"

// Traffic is what a member knows of the SIP traffic that reaches it (sip-pass-check).
type Traffic struct {
	Watched bool          // the rule applies: it is switched on and at least one service device is actively checked
	Period  time.Duration // P0: the maximum over the checked devices of oos-check + oos-force, where oos-force counts for at least 5 s
	AllOut  bool          // every checked device is out of service
	Heard   time.Duration // when the last valid SIP message came from the network, on the node's own raw monotonic clock
	At      time.Duration // when this was found out: silence is counted up to here and not further
}

// quiet is how long this node, as primary, has heard nothing: never longer than it has served.
func (c *Core) quiet() time.Duration {
	return max(0, c.sensed.Traffic.At-max(c.sensed.Traffic.Heard, c.servedSince))
}

// quietLimit is how long it may hear nothing.
func (c *Core) quietLimit() time.Duration {
	t := c.sensed.Traffic
	return time.Duration(c.record.Factor(TriggerSilence, c.opt.Self, t.Period)) * t.Period
}

// SilenceStatus is where the rule about silence stands at a node.
type SilenceStatus struct {
	Watched bool
	Period  time.Duration // without the factor
	Factor  int
	Quiet   time.Duration // how long nothing was heard, as primary
	AllOut  bool
}

// Silence tells where the rule stands.
func (c *Core) Silence() SilenceStatus {
	t := c.sensed.Traffic
	s := SilenceStatus{Watched: t.Watched, Period: t.Period, Factor: c.record.Factor(TriggerSilence, c.opt.Self, t.Period), AllOut: t.AllOut}
	if c.isPrimary() && c.served == c.record.Epoch {
		s.Quiet = c.quiet()
	}
	return s
}

// silent: this node has the role, every checked device is out of service, and no SIP message has come for the period.
func silent(c *Core) bool {
	t := c.sensed.Traffic
	return t.Watched && t.AllOut && t.Period > 0 && c.isPrimary() && c.served == c.record.Epoch && c.quiet() >= c.quietLimit()
}

// forget has the record forget earlier switchovers once this node, as primary, finds their condition gone.
func (c *Core) forget() {
	if c.state != Serving || c.now.Mono < c.nextSettle {
		return
	}
	for _, t := range []Trigger{TriggerSilence, TriggerListener} {
		if _, remembered := c.record.Doubling[t]; remembered && c.gone(t) {
			c.nextSettle = c.now.Mono + max(c.opt.Timing.Report, 100*time.Millisecond)
			c.do(Propose{Entry{Settled: &SettledEntry{Epoch: c.record.Epoch, Trigger: t}}})
		}
	}
}

func (c *Core) gone(t Trigger) bool {
	if t == TriggerListener {
		return !c.feels(ReasonListener)
	}
	return c.sensed.Traffic.Heard > c.servedSince
}
