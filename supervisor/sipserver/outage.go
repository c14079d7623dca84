package sipserver

import "time"

// Cause is why nothing serves: the three that event 00-04200 covers (S4-32).
type Cause string

// The causes. An end is unexpected if the server failed (a signal such as SIGSEGV, an exit code other than 0, or nobody could tell),
// unauthorized if somebody ended it (SIGTERM, SIGKILL, exit code 0): nobody orders that through the sidecar.
const (
	CauseBind         Cause = "bind failure"             // its process lives, and nothing listens
	CauseUnexpected   Cause = "unexpected termination"   // of its process
	CauseUnauthorized Cause = "unauthorized termination" // of its process
)

// Outage is the evidence for event 00-04200. It is zero while there is none.
type Outage struct {
	Cause   Cause     // "" if unknown: nothing listens, and nothing ever did since this sidecar started
	Missing string    // "nothing listens on udp 10.0.0.1:5060"; "" if something does, such as the orphans of a dead main process
	Since   time.Time // nothing listens, or else the process ended
}

// outage is the present one, with its beginning by the judge's clock; ok is false if there is none.
func (j *judge) outage() (o Outage, since time.Duration, ok bool) {
	switch {
	case j.missing != "" && j.lives != "":
		return Outage{Cause: CauseBind, Missing: j.missing}, j.lost, true
	case j.fault != nil && j.missing != "":
		return Outage{Cause: j.fault.cause, Missing: j.missing}, j.lost, true
	case j.fault != nil:
		return Outage{Cause: j.fault.cause}, j.fault.at, true
	case j.missing != "" && j.ran:
		return Outage{Cause: CauseUnexpected, Missing: j.missing}, j.lost, true
	case j.missing != "":
		return Outage{Missing: j.missing}, j.lost, true
	}
	return Outage{}, 0, false
}
