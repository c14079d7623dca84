package vip

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// machine decides what the effector does next. It is pure: every input carries the moment, step names one thing to do, and the
// outcome comes back as another input. It runs in the time of Options.Clock.
type machine struct {
	announce Announce
	gated    bool // a gate exists, so the address isn't up before the gate is open

	hold    supervisor.Hold
	newest  supervisor.Epoch
	leaving bool // the process ends: nothing is wanted any more

	gate    gateView
	addr    presence
	foreign bool // addr is unknown because somebody else added one of the addresses
	busy    job  // running in the worker; at most one
	jobs    backoff
	renewAt time.Duration // the lifetimes of the addresses are refreshed then
	checkAt time.Duration // somebody may have touched the addresses: look, then. never: no need
	probeAt time.Duration // the gate's rules are looked at then

	fresh      bool // once up, the neighbours must be told from the start of the schedule on
	round      int  // of the announcement schedule; beyond its end: refreshes
	base       time.Duration
	announceAt time.Duration

	repairs budget
	talk    reporter
}

// presence is what is known of the addresses of the group on this host.
type presence int

const (
	unknown presence = iota // some may be there
	absent                  // none is
	present                 // all are, on the right interface, with the right lifetimes
)

// job is work for the worker, because the kernel may take its time for it.
type job int

const (
	idle    job = iota
	put         // add all addresses, or refresh their lifetimes
	remove      // remove them from every interface
	check       // look which are missing, add those
	install     // build the gate anew, closed
	probe       // look whether the gate's rules still work
)

// stepKind is one thing to do.
type stepKind int

const (
	rest stepKind = iota
	closeGate
	armGate
	startJob
	announceNow
	report
)

type step struct {
	kind    stepKind
	job     job
	say     supervisor.AddressReport
	reached bool // report: the desired state is reached
}

// Intervals that nobody needs to configure.
const (
	never       = time.Duration(1<<63 - 1)
	renewEvery  = 500 * time.Millisecond // a lifetime of 2 s survives three missed refreshes
	probeEvery  = time.Second
	repairLimit = 10
	repairSpan  = 10 * time.Second
	repairSlow  = time.Second // between repairs once the limit is reached
)

func newMachine(a Announce, gated bool) *machine {
	fresh := backoff{first: 50 * time.Millisecond, last: time.Second}
	return &machine{
		announce:   a,
		gated:      gated,
		gate:       gateView{state: gateUnknown, armed: never, again: never, retry: fresh},
		jobs:       fresh,
		checkAt:    never,
		announceAt: never,
		repairs:    budget{limit: repairLimit, window: repairSpan},
	}
}

// wanted reports whether the address shall be up at now.
func (m *machine) wanted(now time.Duration) bool {
	return m.hold.Held && now < m.hold.Until && !m.leaving
}

// set takes a new desired state.
func (m *machine) set(now time.Duration, h supervisor.Hold, newest supervisor.Epoch) {
	was := m.wanted(now)
	changed := h.Held != m.hold.Held || h.Epoch != m.hold.Epoch || h.Serial != m.hold.Serial || !was && h.Held
	m.hold, m.newest = h, newest
	if !changed {
		return
	}
	m.talk.owed = true
	m.jobs.reset()
	m.gate.retry.reset()
	if h.Held && !was && m.addr != present {
		m.gate.state = gateUnknown // whoever flushed the ruleset meanwhile is found out before the address is added
	}
	m.fresh = true
	m.up(now)
}

// leave makes the address unwanted for good.
func (m *machine) leave() { m.leaving = true; m.jobs.reset() }

// left reports whether nothing is left to take down.
func (m *machine) left() bool { return m.leaving && m.addr == absent && m.busy == idle }

// step names the next thing to do at now; rest if there is none before wakeAt.
func (m *machine) step(now time.Duration) step {
	if m.wanted(now) {
		return m.stepUp(now)
	}
	return m.stepDown(now)
}

// stepDown: close the gate, then remove the addresses, then say so. A gate that can't be closed closes by itself; it doesn't keep
// the addresses up.
func (m *machine) stepDown(now time.Duration) step {
	if m.gated && m.gate.state != gateClosed && m.gate.state != gateMissing && m.gate.retry.ready(now) {
		return step{kind: closeGate}
	}
	if m.busy == idle {
		if m.addr != absent && m.jobs.ready(now) {
			return step{kind: startJob, job: remove}
		}
		if m.gate.state == gateMissing && m.addr == absent && !m.leaving && m.gate.retry.ready(now) {
			return step{kind: startJob, job: install}
		}
	}
	return m.stepReport(now, m.addr == absent, m.addr != absent && m.gate.state != gateClosed)
}

// stepUp: make sure of the gate, add the addresses, open the gate, announce, say so; then keep all of it true.
func (m *machine) stepUp(now time.Duration) step {
	if m.busy == idle && m.gate.state == gateMissing && m.gate.retry.ready(now) {
		return step{kind: startJob, job: install}
	}
	if m.addr != present {
		switch {
		case m.gated && m.gate.state == gateUnknown && m.gate.retry.ready(now):
			return step{kind: closeGate}
		case m.busy == idle && m.jobs.ready(now) && (!m.gated || m.gate.state == gateClosed || m.gate.state == gateOpen):
			return step{kind: startJob, job: put}
		}
		return m.stepReport(now, false, false)
	}
	if m.gated && m.gate.state != gateMissing && m.gate.retry.ready(now) && (m.gate.armed != m.hold.Until || now >= m.gate.again) {
		return step{kind: armGate}
	}
	open := !m.gated || m.gate.state == gateOpen
	if open && now >= m.announceAt && m.checkAt == never && m.busy != check {
		return step{kind: announceNow}
	}
	if s := m.stepReport(now, open, open); s.kind != rest {
		return s
	}
	if m.busy == idle && m.jobs.ready(now) {
		switch {
		case now-m.renewAt >= renewEvery: // however often somebody makes us look
			return step{kind: startJob, job: put}
		case now >= m.checkAt:
			return step{kind: startJob, job: check}
		case now >= m.renewAt:
			return step{kind: startJob, job: put}
		case m.gated && now >= m.probeAt && m.gate.state == gateOpen:
			return step{kind: startJob, job: probe}
		}
	}
	return step{}
}

func (m *machine) stepReport(now time.Duration, reached, held bool) step {
	r := supervisor.AddressReport{Held: held, Epoch: m.newest, Serial: m.hold.Serial, Err: m.problem(now)}
	if held {
		r.Epoch = m.hold.Epoch
	}
	if m.talk.due(r, reached) {
		return step{kind: report, say: r, reached: reached}
	}
	return step{}
}

// wakeAt is the next moment at which step may answer differently without any further input.
func (m *machine) wakeAt(now time.Duration) time.Duration {
	at := never
	if m.busy == idle {
		at = laterThan(now, at, m.jobs.at)
	}
	at = laterThan(now, at, m.gate.retry.at)
	if m.repairs.spent(now) {
		at = laterThan(now, at, m.repairs.at[0]+m.repairs.window) // then the alarm ends
	}
	if !m.wanted(now) {
		return at
	}
	at = laterThan(now, at, m.hold.Until)
	if m.addr != present {
		return at
	}
	at = laterThan(now, at, m.announceAt)
	at = laterThan(now, at, m.gate.again)
	if m.busy != idle {
		return at
	}
	at = laterThan(now, at, m.checkAt)
	at = laterThan(now, at, m.renewAt)
	if m.gated {
		at = laterThan(now, at, m.probeAt)
	}
	return at
}

// laterThan gives the earlier of at and t, if t is still to come.
func laterThan(now, at, t time.Duration) time.Duration {
	if t > now && t < at {
		return t
	}
	return at
}
