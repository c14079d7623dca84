package device

import (
	"fmt"
	"time"
)

// State is what is known of a device.
type State string

// The states. A probe under way changes none of them.
const (
	InService    State = "in-service"
	OutOfService State = "out-of-service" // by its own probes, until a positive answer or a REGISTER
	Failed       State = "failed"         // by a request of somebody else's, until recovery-timeout ends or the device is heard
)

// Verdict is the state of one device.
type Verdict struct {
	Device     string
	State      State
	Confirmed  bool          // false: in service because nothing says otherwise
	Since      time.Time     // of State
	Code       int           // status code that State rests on, 0 if it rests on none
	RTT        time.Duration // of the last positive answer, 0 without one
	Text       string        // for people, such as "200 in 1.2ms", "no answer for 5s", "503, retry after 30s", "refused"
	RetryUntil time.Time     // end of what Retry-After asked for; zero without
}

// basis is what a state rests on.
type basis uint8

const (
	nothing    basis = iota
	answer           // to a probe
	registered       // a REGISTER of the device
	heard            // a SIP message of the device
	waited           // the end of recovery-timeout
	silence          // no answer to a probe
	refusal          // of a probe
	trouble          // on this side: the probe could not be sent
	timeout          // an INVITE that nobody answered
	transport        // a request that could not be sent
	declined         // 503 to a request
)

func (m *machine) text(now time.Duration) string {
	switch m.basis {
	case answer:
		if m.state == InService {
			return fmt.Sprintf("%d in %.1fms%s", m.code, float64(m.rtt)/float64(time.Millisecond), after(m.detail))
		}
		return fmt.Sprintf("%d%s%s", m.code, m.retryText(now), after(m.detail))
	case registered:
		return "registered"
	case heard:
		return "heard of"
	case waited:
		return "recovery-timeout is over"
	case silence:
		return fmt.Sprintf("no answer for %v%s", (now - m.quiet).Round(time.Second/10), after(m.detail))
	case refusal:
		return "refused" + after(m.detail)
	case trouble:
		return "cannot ask" + after(m.detail)
	case timeout:
		return "INVITE timed out"
	case transport:
		return "request could not be sent"
	case declined:
		return "503 to a request" + m.retryText(now)
	}
	if m.check == 0 {
		return "not probed"
	}
	return "no answer yet"
}

func after(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}

func (m *machine) retryText(now time.Duration) string {
	if m.retryUntil <= now {
		return ""
	}
	return fmt.Sprintf(", retry after %v", m.retry)
}
