package supervisor

import (
	"maps"
	"slices"
	"time"
)

// Next is the moment at which the core wants a Tick at the latest. It is never further away than lets the core find out that its own
// loop was late.
func (c *Core) Next() time.Duration {
	next := min(c.now.Mono+c.opt.Timing.Suspect/2, c.nextReport)
	at := func(t time.Duration) {
		if t > c.now.Mono {
			next = min(next, t)
		}
	}
	switch c.state {
	case Starting:
		at(c.vote.free)
	case Standing, Serving, Clinging:
		at(c.lease.next)
		if c.lease.repeat > c.now.Mono && slices.ContainsFunc(c.others, c.missed) {
			at(c.lease.repeat)
		}
		at(c.lease.until)
		at(c.vote.free)
	case Following:
		at(c.vote.heard + c.opt.Timing.Suspect + 1)
	case Challenging:
		at(c.nextClose)
	case Claiming:
		at(c.nextPropose)
		at(c.nextCampaign)
	}
	if c.farewell > 0 {
		at(c.nextFarewell)
	}
	return max(next, c.now.Mono+50*time.Microsecond)
}

// announce tells the others how this node stands: at once when anything changed that they act on, else every Timing.Report.
func (c *Core) announce() {
	r := c.Report()
	if c.now.Mono < c.nextReport && sameNews(r, c.told) {
		return
	}
	c.told, c.nextReport = r, c.now.Mono+c.opt.Timing.Report
	c.do(Tell{Report: r})
}

// Report is what this node says about itself and what it sees.
func (c *Core) Report() Report {
	reasons := slices.Clone(c.sensed.Reasons)
	if c.leaving {
		reasons = append(reasons, ReasonLeaving)
	}
	if silent(c) {
		reasons = append(reasons, ReasonSilence)
	}
	slices.Sort(reasons)
	return Report{
		Node: c.opt.Self, Boot: c.opt.Boot, Epoch: c.record.Epoch, State: c.state, Ready: fit(c), Reasons: reasons,
		Server: c.sensed.Server, Service: c.sensed.Service, Members: c.sensed.Members, Neighbours: c.sensed.Neighbours,
		Fence: c.opt.Fence, LeaseLeft: c.LeaseLeft(c.now.Mono), ConfigHash: c.opt.ConfigHash, Version: c.opt.Version,
	}
}

// sameNews reports whether b tells the others nothing that a did not, measurements aside.
func sameNews(a, b Report) bool {
	return a.Node == b.Node && a.Boot == b.Boot && a.Epoch == b.Epoch && a.State == b.State && a.Ready == b.Ready &&
		slices.Equal(a.Reasons, b.Reasons) && sameView(a.Server, b.Server) && sameView(a.Service, b.Service) &&
		maps.EqualFunc(a.Members, b.Members, sameView) && maps.Equal(a.Neighbours, b.Neighbours) && a.Fence == b.Fence && a.ConfigHash == b.ConfigHash && a.Version == b.Version
}

func sameView(a, b View) bool { return a.Class == b.Class && a.Code == b.Code && a.Busy == b.Busy }
