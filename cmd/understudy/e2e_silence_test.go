package main

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor"
)

// silenceRule is the configuration of a pair that gives the role away when no SIP arrives.
const silenceRule = "sip-pass-check: true\ndevices: {gone: {uri: \"sip:10.77.2.77\", oos-check: 1s, oos-force: 1s}}\n"

// A pair without any SIP traffic, whose only checked device is gone, switches at P, 2P and 4P, and stays from the first message on
// (S4-08 to S4-26). P is 1 s of oos-check and 5 s that an oos-force of 1 s counts for. A witness that restarts makes no difference.
func TestSilence(t *testing.T) {
	const period = 6 * time.Second
	p := newRig(t, func(p *rig) {
		p.extra = silenceRule
	})
	p.lab.Client.Pause(true)
	defer p.lab.Client.Pause(false)
	moves := func() []supervisor.Switchover {
		h := p.history(lab.MemberA)
		slices.Reverse(h) // oldest first
		return slices.DeleteFunc(h, func(s supervisor.Switchover) bool { return s.Trigger != supervisor.TriggerSilence })
	}
	p.within(20*period, "the first switchover", func() bool { return len(moves()) == 1 })
	p.kill("w")
	p.restart("w")
	p.within(20*period, "three switchovers", func() bool { return len(moves()) >= 3 })
	m := moves()
	for i, want := range []time.Duration{period, 2 * period} { // after the first at P: at 2P and 4P
		if got := m[i+1].At.Sub(m[i].At); got < want-200*time.Millisecond || got > 2*want {
			t.Errorf("switchover %d came %v after the one before, want %v", i+2, got, want)
		}
	}
	p.lab.Client.Pause(false)
	primary := p.primary()
	p.untilStatus(primary, "gone")
	had := len(moves())
	p.until("the rule starts over", func() bool {
		s, ok := p.status(primary)
		return ok && s.Silence != nil && s.Silence.Factor == 1 && s.Silence.QuietMS < 1000
	})
	time.Sleep(period + period/2)
	if got := len(moves()); got != had {
		t.Errorf("the role moved %d times although there was traffic", got-had)
	}
}
