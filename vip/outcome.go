package vip

import (
	"errors"
	"fmt"
	"time"
)

// gateState is what is known of the gate.
type gateState int

const (
	gateUnknown gateState = iota // perhaps open, perhaps gone
	gateClosed
	gateOpen    // until its elements expire
	gateMissing // somebody removed its rules
)

// gateView is the machine's knowledge of the gate.
type gateView struct {
	state  gateState
	armed  time.Duration // the Hold.Until that was last acted on; never: none
	again  time.Duration // re-arm for the same Hold then, because it lasts longer than any element. never: no need
	misses int           // probes in a row that found the rules without effect
	err    error
	retry  backoff
}

// errGateMissing says that nothing took the refreshing packet: the rules are gone.
var errGateMissing = errors.New("the nftables rules of the fence are gone (was the ruleset flushed?)")

// closed is the outcome of closeGate.
func (m *machine) closed(now time.Duration, err error) {
	m.gate.armed, m.gate.again = never, never
	m.gateOutcome(now, gateClosed, err)
}

// armedFor is the outcome of armGate for the hold that ends at until. open is false if that was too soon for the gate to be opened.
func (m *machine) armedFor(now, until, again time.Duration, open bool, err error) {
	m.gate.armed, m.gate.again = until, again
	state := gateOpen
	if !open {
		state = gateClosed
	}
	if err != nil {
		m.gate.armed = never
	}
	m.gateOutcome(now, state, err)
	m.up(now)
}

func (m *machine) gateOutcome(now time.Duration, state gateState, err error) {
	switch {
	case err == nil:
		m.gate.state, m.gate.err = state, nil
		m.gate.retry.reset()
		return
	case errors.Is(err, errGateMissing): // no problem before they can't be made anew
		m.gate.state = gateMissing
	default:
		m.gate.state, m.gate.err = gateUnknown, err
		m.gate.retry.failed(now)
	}
}

// started notes that the worker began a job.
func (m *machine) started(j job) {
	m.busy = j
	switch {
	case j == check:
		m.checkAt = never
	case j == remove, j == put && m.addr == absent:
		m.addr = unknown
	}
}

// result is the outcome of a job.
type result struct {
	job      job
	repaired int  // check: addresses that were missing and are back. remove: addresses that were there
	effect   bool // probe: the rules work
	err      error
}

// done is the outcome of the running job.
func (m *machine) done(now time.Duration, r result) {
	m.busy = idle
	switch r.job {
	case put, check:
		m.placed(now, r)
	case remove:
		if m.foreign && r.repaired > 0 {
			m.repairs.note(now)
		}
		m.addr, m.foreign = absent, false
		if r.err != nil {
			m.addr = unknown
		}
		m.jobOutcome(now, r.err)
	case install:
		m.gate.misses = 0
		m.closed(now, r.err)
	case probe:
		m.probeAt = now + probeEvery
		if m.gate.misses++; r.effect {
			m.gate.misses = 0
		}
		if m.gate.misses >= 2 { // once may be an element that expired because the renewal is late
			m.gate.state = gateMissing
		}
	}
}

func (m *machine) placed(now time.Duration, r result) {
	before := m.addr
	m.addr = present
	if r.err != nil || !m.wanted(now) {
		m.addr = unknown
	}
	if r.job == put { // a check only adds what is missing
		m.renewAt = now + renewEvery
	}
	if errors.Is(r.err, errTooLate) { // no failure: not wanted any more, or extended and to be tried again
		return
	}
	if r.job == check && r.repaired > 0 {
		m.repairs.note(now)
		m.fresh = true
	}
	if r.job == put && m.checkAt != never {
		m.fresh = true // it may have put back what was gone before the check could tell
	}
	m.fresh = m.fresh || before != present
	if m.wanted(now) {
		m.jobOutcome(now, r.err)
	}
	m.up(now)
}

func (m *machine) jobOutcome(now time.Duration, err error) {
	m.talk.addr = err
	if err != nil {
		m.jobs.failed(now)
		return
	}
	m.jobs.reset()
}

// up starts the announcements when the address has come up, or up again.
func (m *machine) up(now time.Duration) {
	if m.fresh && m.wanted(now) && m.addr == present && (!m.gated || m.gate.state == gateOpen) {
		m.fresh, m.base, m.round = false, now, -1
		m.nextRound(now)
	}
}

// again starts the announcements anew, if there is anything to announce.
func (m *machine) again(now time.Duration) {
	if !m.fresh && m.wanted(now) && m.addr == present {
		m.base, m.round = now, -1
		m.nextRound(now)
	}
}

// nextRound plans the first announcement that is not in the past; at the start that may be now.
func (m *machine) nextRound(now time.Duration) {
	for m.round++; m.round < len(m.announce.Schedule); m.round++ {
		if m.announceAt = m.base + m.announce.Schedule[m.round]; m.announceAt >= now {
			return
		}
	}
	m.announceAt = never
	if m.announce.Refresh > 0 {
		m.announceAt = now + m.announce.Refresh
	}
}

// announced is the outcome of announceNow.
func (m *machine) announced(now time.Duration, err error) {
	m.talk.announce = err
	m.nextRound(now)
}

// touched says that some of the addresses were added to or removed from this host, by us or by somebody else.
func (m *machine) touched(now time.Duration, added, removed bool) {
	switch {
	case !m.wanted(now):
		if removed && m.addr == present {
			m.addr = unknown
		}
		if added && m.addr == absent {
			m.addr, m.foreign = unknown, true
			if m.repairs.spent(now) {
				m.jobs.at = m.repairs.last() + repairSlow
			}
		}
	case removed && (m.addr == present || m.busy == put):
		m.look(now)
	}
}

// relinked says that the interface appeared, disappeared or changed its state. cameUp: it can carry packets again.
func (m *machine) relinked(now time.Duration, cameUp bool) {
	m.jobs.reset()
	m.fresh = m.fresh || cameUp
	if m.wanted(now) && m.addr == present {
		m.look(now)
	}
}

// look plans a check: now, or slowly when somebody keeps removing the addresses.
func (m *machine) look(now time.Duration) {
	at := now
	if m.repairs.spent(now) {
		at = max(now, m.repairs.last()+repairSlow)
	}
	m.checkAt = min(m.checkAt, at)
}

// problem is why the desired state isn't reached, or what endangers it.
func (m *machine) problem(now time.Duration) error {
	errs := []error{m.talk.addr, m.gate.err}
	if m.wanted(now) && m.addr == present {
		errs = append(errs, m.talk.announce)
	}
	if m.repairs.spent(now) {
		errs = append(errs, fmt.Errorf("somebody else changed the address %d times within %v: find out who manages the interface",
			m.repairs.limit, m.repairs.window))
	}
	return errors.Join(errs...)
}

// reported is the outcome of report.
func (m *machine) reported(s step) { m.talk.told(s.say, s.reached) }
