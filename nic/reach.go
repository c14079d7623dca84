package nic

import "time"

// reach makes a verdict of a gateway's answers. It has no clock: tick is told of the passing of time and says whether to ask now.
//
// It counts requests that had their time and weren't answered, not time: a process that was frozen asks again before it judges.
type reach struct {
	period time.Duration
	fall   int

	state   Reach
	asking  bool      // the interface is up
	due     time.Time // of the next request, and the end of the last one's time
	step    time.Duration
	waiting bool // for the answer to the last request
	missed  int  // quarters of a period without an answer
	turn    int  // of requests since the last answer
}

// A gateway that didn't answer is asked that many times a period.
const hurry = 4

// start begins to ask, if it didn't yet.
func (g *reach) start(now time.Time) {
	if !g.asking {
		g.asking, g.due = true, now
		g.forget()
	}
}

// stop ends it. The verdict stays what it was.
func (g *reach) stop() { g.asking = false }

// unknown gives up the verdict.
func (g *reach) unknown() { g.state = ReachUnknown }

func (g *reach) forget() { g.waiting, g.missed, g.turn = false, 0, 0 }

// answer takes a proof that the gateway is there.
func (g *reach) answer(now time.Time) {
	if !g.asking {
		return
	}
	g.forget()
	g.state, g.due = ReachAnswering, now.Add(g.period)
}

// tick gives whether to ask now, and whether everywhere or only at the last known hardware address.
func (g *reach) tick(now time.Time) (ask, everywhere bool) {
	if !g.asking || now.Before(g.due) {
		return false, false
	}
	if g.waiting && now.Sub(g.due) <= g.period/2 { // later than that we were not there ourselves
		if g.missed++; g.step == g.period {
			g.missed += hurry - 1
		}
		if g.missed >= hurry*g.fall {
			g.state, g.missed = ReachSilent, hurry*g.fall
		}
	}
	g.step = g.period
	if g.missed > 0 && g.state != ReachSilent {
		g.step = g.period / hurry
	}
	g.waiting, g.due = true, now.Add(g.step)
	g.turn++
	return true, g.turn%2 == 0
}

// later puts the next request off, when asking isn't possible.
func (g *reach) later(now time.Time, by time.Duration) {
	g.forget()
	g.due = now.Add(by)
}

// next gives the moment of the next tick; zero: none is needed.
func (g *reach) next() time.Time {
	if !g.asking {
		return time.Time{}
	}
	return g.due
}

// silence is how long a silent gateway has been silent for at least.
func (g *reach) silence() time.Duration { return time.Duration(g.fall) * g.period }
