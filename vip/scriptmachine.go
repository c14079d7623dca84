package vip

import (
	"errors"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// scriptMachine decides which script runs next. Pure, like machine.
type scriptMachine struct {
	hold    supervisor.Hold
	newest  supervisor.Epoch
	leaving bool

	addresses []scripted
	running   *call
	dropped   bool // the running call is no longer wanted, and was told so
	talk      reporter
}

// scripted is what is known of one address.
type scripted struct {
	state presence
	epoch supervisor.Epoch // present: of the run that brought it up
	retry backoff
	tries int // since leave
	err   error
}

// call is one run of a script. epoch is never older than the newest that was seen before it started.
type call struct {
	address int
	up      bool
	epoch   supervisor.Epoch
}

type scriptStepKind int

const (
	scriptRest scriptStepKind = iota
	scriptRun
	scriptCancel
	scriptReport
)

type scriptStep struct {
	kind    scriptStepKind
	call    call
	say     supervisor.AddressReport
	reached bool
}

// lastTries bounds how often each down script is run at the end.
const lastTries = 3

func newScriptMachine(addresses int, retry time.Duration, at presence) *scriptMachine {
	m := &scriptMachine{addresses: make([]scripted, addresses)}
	for i := range m.addresses {
		m.addresses[i].state = at
		m.addresses[i].retry = backoff{first: retry, last: 10 * retry}
	}
	return m
}

func (m *scriptMachine) wanted(now time.Duration) bool {
	return m.hold.Held && now < m.hold.Until && !m.leaving
}

func (m *scriptMachine) set(now time.Duration, h supervisor.Hold, newest supervisor.Epoch) {
	changed := h.Held != m.hold.Held || h.Epoch != m.hold.Epoch || h.Serial != m.hold.Serial || h.Held && !m.wanted(now)
	m.hold, m.newest = h, newest
	if changed {
		m.talk.owed = true
		m.hurry()
	}
}

func (m *scriptMachine) leave() {
	m.leaving = true
	m.hurry()
}

// doubt says that somebody saw the addresses otherwise than wanted.
func (m *scriptMachine) doubt() {
	for i := range m.addresses {
		m.addresses[i].state = unknown
	}
}

func (m *scriptMachine) hurry() {
	for i := range m.addresses {
		m.addresses[i].retry.reset()
	}
}

// left reports whether everything is down, or was tried often enough.
func (m *scriptMachine) left() bool {
	if !m.leaving || m.running != nil {
		return false
	}
	for _, a := range m.addresses {
		if a.state != absent && a.tries < lastTries {
			return false
		}
	}
	return true
}

func (m *scriptMachine) step(now time.Duration) scriptStep {
	want := m.wanted(now)
	if m.running != nil {
		obsolete := m.running.up != want || want && m.running.epoch != m.hold.Epoch
		if obsolete && !m.dropped {
			return scriptStep{kind: scriptCancel}
		}
	} else if c, ok := m.next(now, want); ok {
		return scriptStep{kind: scriptRun, call: c}
	}
	r := supervisor.AddressReport{Held: want && m.reached(true), Epoch: m.newest, Serial: m.hold.Serial, Err: m.problem()}
	reached := m.running == nil && m.reached(want)
	if m.talk.due(r, reached) {
		return scriptStep{kind: scriptReport, say: r, reached: reached}
	}
	return scriptStep{}
}

// next is the call to make. Up goes in order and stops at the first address that fails; down leaves out what fails and does the rest.
func (m *scriptMachine) next(now time.Duration, up bool) (call, bool) {
	for i, a := range m.addresses {
		if m.settled(a, up) || m.leaving && a.tries >= lastTries {
			continue
		}
		if a.retry.ready(now) {
			return call{address: i, up: up, epoch: m.newest}, true
		}
		if up {
			break
		}
	}
	return call{}, false
}

// settled reports whether an address is as it shall be.
func (m *scriptMachine) settled(a scripted, up bool) bool {
	if up {
		return a.state == present && a.epoch == m.hold.Epoch
	}
	return a.state == absent
}

func (m *scriptMachine) reached(up bool) bool {
	for _, a := range m.addresses {
		if !m.settled(a, up) {
			return false
		}
	}
	return true
}

func (m *scriptMachine) started(c call) {
	m.running, m.dropped = &c, false
	m.addresses[c.address].state = unknown
}

func (m *scriptMachine) cancelled() { m.dropped = true }

// done is the outcome of the running call.
func (m *scriptMachine) done(now time.Duration, err error) {
	c, a := m.running, &m.addresses[m.running.address]
	m.running = nil
	if m.dropped && err != nil {
		return // it was ended by us
	}
	a.err = err
	switch {
	case err != nil:
		a.retry.failed(now)
		if m.leaving {
			a.tries++
		}
		return
	case c.up:
		a.state, a.epoch = present, c.epoch
	default:
		a.state = absent
	}
	a.retry.reset()
}

func (m *scriptMachine) wakeAt(now time.Duration) time.Duration {
	at := never
	if m.wanted(now) {
		at = laterThan(now, at, m.hold.Until)
	}
	for _, a := range m.addresses {
		at = laterThan(now, at, a.retry.at)
	}
	return at
}

// problem joins what went wrong last, for each address that isn't as it should be.
func (m *scriptMachine) problem() error {
	var errs []error
	for _, a := range m.addresses {
		errs = append(errs, a.err)
	}
	return errors.Join(errs...)
}
