package main

import (
	"fmt"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/sipserver"
)

// serverConditions turns what is known of a member's own SIP server into alarms. Each is about the node.
type serverConditions struct {
	edges *edges
	node  supervisor.NodeID
	cause sipserver.Cause
}

func (c *serverConditions) is(st sipserver.Status) {
	me := string(c.node)
	queue := fmt.Sprintf("receive queue %d of %d octets, %d drops", st.Queue.Unread, st.Queue.Buffer, st.Queue.Drops)
	level := func(holds bool, begins string) { c.edges.level(holds, begins, me, me+": "+st.Text, queue) }
	r := st.Reason
	if r == supervisor.ReasonServerStart {
		return // nothing is known yet
	}
	level(r == supervisor.ReasonServerDead, "sip-server-down")
	level(r == supervisor.ReasonServerHung, "sip-server-stuck")
	level(r == supervisor.ReasonServerDrain, "sip-server-draining")
	level(r == supervisor.ReasonListener || st.Outage.Missing != "", "sip-listener-missing")
	level(st.OptionsDead, "sip-options-unanswered")
	level(st.Overloaded, "sip-overload")
	cause := st.Outage.Cause
	if cause != c.cause && (cause == sipserver.CauseUnexpected || cause == sipserver.CauseUnauthorized) {
		c.edges.event("sip-server-terminated", me, fmt.Sprintf("%s: %s", me, cause))
	}
	c.cause = cause
}
