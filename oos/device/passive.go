package device

import "time"

// Kind is what was seen of a device in traffic.
type Kind uint8

// The kinds. One message is one hint: a 503 to a request is Unavailable and not Message.
const (
	Message     Kind = iota + 1 // any SIP message from the device
	Register                    // a valid REGISTER from the device
	Timeout                     // an INVITE to the device that had no final answer
	Unreachable                 // a request to the device that could not be sent
	Unavailable                 // 503 from the device to a request
)

// overheard takes what was seen of the device in traffic.
func (m *machine) overheard(now time.Duration, k Kind, retry time.Duration, hasRetry bool) {
	switch k {
	case Message:
		if m.state == Failed {
			m.revive(now, heard)
		}
	case Register:
		if m.state == Failed || (m.state == OutOfService && now >= m.retryUntil) {
			m.revive(now, registered)
		}
	case Timeout:
		m.fail(now, timeout, m.recovery)
	case Unreachable:
		m.fail(now, transport, m.recovery)
	case Unavailable:
		m.unavailable(now, retry, hasRetry)
	}
}

// overhears reports whether overheard could change anything.
func (m *machine) overhears(k Kind) bool {
	switch k {
	case Message:
		return m.state == Failed
	case Register:
		return m.state != InService
	case Timeout, Unreachable:
		return m.state == InService && m.recovery > 0
	case Unavailable:
		return m.state != OutOfService && (m.recovery > 0 || m.check > 0)
	}
	return false
}

// unavailable takes a 503 to a request. A device that is probed and names a time is out of service until a probe says otherwise; one that
// is not probed has failed for that time. It holds for a device that has failed already as well.
func (m *machine) unavailable(now, retry time.Duration, hasRetry bool) {
	switch {
	case m.state == OutOfService:
	case hasRetry && m.check > 0:
		m.enter(now, OutOfService, declined)
		m.code, m.confirmed = 503, true
		m.retryAfter(now, retry)
		if m.deadline, m.sendAt = never, now+m.force; m.waiting {
			m.sendAt = m.step + m.force
		}
	case hasRetry && m.state == InService:
		m.fail(now, declined, min(retry, longestFailure))
		if m.state == Failed {
			m.retry, m.retryUntil = min(retry, longestFailure), m.until
		}
	default:
		m.fail(now, declined, m.recovery)
	}
}

// fail takes a device that is in service for failed, for a time. With recovery-timeout 0 nothing ever fails.
func (m *machine) fail(now time.Duration, why basis, d time.Duration) {
	if m.state != InService || m.recovery == 0 {
		return
	}
	m.enter(now, Failed, why)
	m.until, m.confirmed = now+d, true
	if why == declined {
		m.code = 503
	}
}

// revive puts the device in service because it was heard of.
func (m *machine) revive(now time.Duration, why basis) {
	if m.state == OutOfService {
		m.settle(now) // the probe under way was one of a device out of service: its silence means nothing any more
	}
	m.enter(now, InService, why)
	m.confirmed = true
}
