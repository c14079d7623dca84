package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// reasonsText says in words why a member can't serve; empty if it has no reason.
func reasonsText(n Node) string {
	parts := make([]string, 0, len(n.Reasons))
	for _, r := range n.Reasons {
		parts = append(parts, reasonText(r, n.Server.Text))
	}
	return strings.Join(parts, ", and ")
}

func reasonText(r supervisor.Reason, seen string) string {
	switch r {
	case supervisor.ReasonServerDead:
		return "its SIP server is dead" + brackets(seen)
	case supervisor.ReasonServerHung:
		return "its SIP server hangs" + brackets(seen)
	case supervisor.ReasonServerDrain:
		return "its SIP server asks for no new work" + brackets(seen)
	case supervisor.ReasonServerStart:
		return "its SIP server has not been seen serving yet" + brackets(seen)
	case supervisor.ReasonNIC:
		return "the interface of its node address is down"
	case supervisor.ReasonSIPNIC:
		return "its interface for the service address is down"
	case supervisor.ReasonAddress:
		return "the service address cannot be put up there"
	case supervisor.ReasonListener:
		return "nothing listens on the port of its SIP server"
	case supervisor.ReasonSilence:
		return "no SIP message has reached it for too long, and every device that it checks is out of service"
	case supervisor.ReasonStore:
		return "its state folder cannot be written"
	case supervisor.ReasonConfig:
		return "its configuration differs from the others'"
	case supervisor.ReasonLeaving:
		return "its sidecar is being stopped"
	default:
		return "it says " + string(r)
	}
}

func brackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// Span writes a length of time for people, in at most two units: "340ms", "2.1s", "38m", "4h 5m", "1d 4h".
func Span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return two(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 24*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	default:
		return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
	}
}

func two(big int, bigUnit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", big, bigUnit)
	}
	return fmt.Sprintf("%d%s %d%s", big, bigUnit, small, smallUnit)
}
