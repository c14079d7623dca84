package device

import (
	"math"
	"time"
)

// Timers of a client transaction over UDP (RFC 3261 17.1.2.2).
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// longestRetry bounds how long a Retry-After is heeded from a device that is probed, longestFailure from one that is not.
const (
	longestRetry   = 300 * time.Second
	longestFailure = 86400 * time.Second
)

const never = time.Duration(math.MaxInt64)

// action is what a machine wants done.
type action uint8

const (
	rest   action = iota
	ask           // send a new OPTIONS
	repeat        // send the same one again
)

// machine judges one device. It has neither I/O nor a clock: moments are counted from any common start.
//
// While waiting is set and state is not OutOfService, the device is in what the reference calls CHECKING.
type machine struct {
	check, force, recovery time.Duration
	fastFail               bool

	state      State
	confirmed  bool
	since      time.Duration // of state
	basis      basis
	code       int
	rtt        time.Duration
	detail     string
	quiet      time.Duration // of silence: since when
	until      time.Duration // of Failed: its end
	retry      time.Duration // what Retry-After asked for, bounded
	retryUntil time.Duration // its end, 0 without one

	waiting  bool          // the newest probe has no positive answer
	sentAt   time.Duration // when the newest probe was first sent
	step     time.Duration // when it was to be sent, plus the periods missed: a delay of many devices does not bind their cadences together
	sendAt   time.Duration // when the next is due
	early    time.Duration // how much sooner than oos-check the second one is
	deadline time.Duration // when the newest proves that the device is out of service
	resendAt time.Duration
	interval time.Duration // until the resending after the next
	stopped  time.Duration // how long in all this process had not run, when the newest probe was sent
	unasked  string        // why the newest probe could not be sent
	hint     string        // what the network said of it, such as "no route to host"
	refused  bool          // what the network said was a refusal
	denied   int           // the negative answer that it had
}

// begin starts all over: in service until something says otherwise, and the first probe at a moment; the second follows that much sooner
// than oos-check. Without a first there are no probes.
func (m *machine) begin(now, first, early time.Duration) {
	*m = machine{
		check: m.check, force: m.force, recovery: m.recovery, fastFail: m.fastFail,
		state: InService, since: now, sendAt: never, resendAt: never, deadline: never,
	}
	if m.check > 0 {
		m.sendAt, m.early = first, early
	}
}

// next is when due may have something to say.
func (m *machine) next() time.Duration {
	at := never
	if !m.waiting || m.state == OutOfService {
		at = m.sendAt
	} else {
		at = m.deadline
	}
	if m.waiting {
		at = min(at, m.resendAt)
	}
	if m.state == Failed {
		at = min(at, m.until)
	}
	return at
}

// due draws the conclusions of the moment and gives the next thing to do; it is to be called until that is rest. What has arrived has to be
// told before. stopped is how long in all this process has not run: an answer that nobody could wait for is not missing.
func (m *machine) due(now, stopped time.Duration) action {
	if m.state == Failed && now >= m.until {
		m.enter(now, InService, waited)
		m.confirmed = false
	}
	if m.waiting && m.state != OutOfService && now >= m.deadline {
		if stopped > m.stopped {
			m.deadline = now + min(stopped-m.stopped, m.force)
			m.stopped = stopped
			return m.again(now)
		}
		m.condemn(now)
	}
	switch {
	case now >= m.sendAt && (!m.waiting || m.state == OutOfService):
		if m.waiting {
			m.condemn(now) // anew: for what became of this probe
		}
		m.asked(now, stopped)
		return ask
	case m.waiting && now >= m.resendAt:
		return m.again(now)
	}
	return rest
}

// asked begins a new probe.
func (m *machine) asked(now, stopped time.Duration) {
	if !m.waiting || m.denied != 0 || m.refused {
		m.quiet = now
	}
	period := m.check
	if m.state == OutOfService {
		period = m.force
	}
	m.waiting, m.sentAt, m.stopped = true, now, stopped
	m.step = now - (now-m.sendAt)%period
	m.deadline, m.sendAt = now+m.force, never
	if m.state == OutOfService {
		m.sendAt = m.step + m.force
	}
	m.resendAt, m.interval = now+t1, 2*t1
	m.unasked, m.hint, m.denied, m.refused = "", "", 0, false
}

// again plans the resending after this one.
func (m *machine) again(now time.Duration) action {
	m.resendAt, m.interval = now+m.interval, min(2*m.interval, t2)
	m.unasked = ""
	return repeat
}

// follow says that a request took the place of the newest probe's, as an answer to a challenge.
func (m *machine) follow(now time.Duration) { m.resendAt, m.interval = now+t1, 2*t1 }

// delivered says that the transport sees to the newest probe from here on: it is not sent again.
func (m *machine) delivered() { m.resendAt = never }

// undelivered says that a transport which sees to this itself lost the newest probe, or never had it.
func (m *machine) undelivered(now time.Duration) {
	if m.waiting && m.denied == 0 && m.resendAt == never && (!m.refused || !m.fastFail) {
		m.resendAt, m.interval = now+m.interval, min(2*m.interval, t2)
	}
}

// unsent says that the newest probe could not be sent now, for a reason on this side.
func (m *machine) unsent(why string) { m.unasked = why }

// provisional takes a 1xx: no answer, but the device works on one (RFC 3261 17.1.2.2).
func (m *machine) provisional(now time.Duration) {
	if m.waiting && m.resendAt != never {
		m.resendAt, m.interval = now+t2, t2
	}
}

// positive takes a positive answer to the newest probe.
func (m *machine) positive(now time.Duration, code int, rtt time.Duration, detail string) {
	if !m.waiting {
		return
	}
	m.settle(now)
	if m.state != InService || m.basis != answer {
		m.enter(now, InService, answer)
	}
	m.code, m.rtt, m.detail, m.confirmed = code, rtt, detail, true
	m.retry, m.retryUntil = 0, 0
}

// settle ends the wait for the newest probe and plans the next.
func (m *machine) settle(now time.Duration) {
	m.waiting, m.resendAt, m.deadline = false, never, never
	switch {
	case m.check == 0:
		m.sendAt = never
	case m.state == OutOfService:
		m.sendAt = now + m.check
	default:
		m.sendAt = max(m.step+m.check-m.early, now)
	}
	m.early = 0
}

// negative takes a negative answer to the newest probe. It counts as no answer yet, unless it says when to come back.
func (m *machine) negative(now time.Duration, code int, retry time.Duration, hasRetry bool) {
	if !m.waiting {
		return
	}
	m.resendAt, m.denied = never, code
	switch {
	case hasRetry:
		m.retryAfter(now, retry)
		m.condemn(now)
	case m.state == OutOfService:
		m.condemn(now)
	}
}

// retryAfter notes what a Retry-After asks for, bounded.
func (m *machine) retryAfter(now, retry time.Duration) {
	m.retry = min(retry, longestRetry)
	m.retryUntil = now + m.retry
}

// refuse takes an explicit refusal of the newest probe.
func (m *machine) refuse(now time.Duration, detail string) {
	if !m.waiting || m.denied != 0 {
		return
	}
	m.hint, m.refused = detail, true
	if m.fastFail {
		m.resendAt = never
		m.condemn(now)
	}
}

// noted takes what the network says of the newest probe that is no refusal.
func (m *machine) noted(detail string) {
	if m.waiting && !m.refused {
		m.hint = detail
	}
}

// condemn puts the device out of service, for the reason that the newest probe gives. The next goes out oos-force after that one.
func (m *machine) condemn(now time.Duration) {
	why, detail := silence, m.hint
	switch {
	case m.denied != 0:
		why, detail = answer, ""
	case m.refused:
		why = refusal
	case m.unasked != "":
		why, detail = trouble, m.unasked
	}
	m.enter(now, OutOfService, why)
	m.code, m.detail, m.confirmed = m.denied, detail, true
	m.sendAt = m.step + m.force
	m.deadline = never
}

// enter takes up a state, which may be the present one, for a reason.
func (m *machine) enter(now time.Duration, s State, why basis) {
	if m.state != s {
		m.state, m.since = s, now
	}
	if s != OutOfService && m.retryUntil != 0 {
		m.retry, m.retryUntil = 0, 0
	}
	m.basis, m.code, m.detail = why, 0, ""
}
