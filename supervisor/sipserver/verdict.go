package sipserver

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// verdict is the reason why the server can't serve, "" if it can, and the evidence for people.
func (j *judge) verdict(now time.Duration) (supervisor.Reason, string) {
	switch {
	case j.watching && !j.seen:
		return supervisor.ReasonServerStart, "not looked at yet"
	case j.fault != nil && j.missing != "":
		return supervisor.ReasonServerDead, j.fault.text + "; " + j.missing
	case j.fault != nil:
		return supervisor.ReasonServerDead, j.fault.text
	case j.missing != "" && j.lives != "":
		return supervisor.ReasonListener, j.missing + ", but " + j.lives + " lives"
	case j.missing != "":
		return supervisor.ReasonServerDead, j.missing
	case j.refused && j.known.Class == classDead:
		return supervisor.ReasonServerDead, j.known.Text
	case j.hang.why != "":
		return supervisor.ReasonServerHung, j.known.Text + "; " + j.hang.why
	case j.known.Class == classDraining:
		return supervisor.ReasonServerDrain, j.known.Text
	case j.served && j.silent():
		return "", j.known.Text + ", " + j.doubt(now)
	case j.known.Class == classServing && j.heard >= j.present:
		return "", j.view.Text
	case j.known.Class == classServing:
		return supervisor.ReasonServerStart, "it listens again and was not asked since"
	default:
		return supervisor.ReasonServerStart, j.view.Text
	}
}
