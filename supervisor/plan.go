package supervisor

import (
	"errors"
	"fmt"
)

// UnfitError says why a node can't be primary.
type UnfitError struct {
	Node NodeID
	Why  string
}

func (e *UnfitError) Error() string { return fmt.Sprintf("%s can't be primary: %s", e.Node, e.Why) }

// ErrNoPrimary reports that there is no primary to switch from yet.
var ErrNoPrimary = errors.New("no primary was chosen yet")

// PlanSwitchover gives the entry that makes to primary, or the reason why it can't be. An empty to means the other member.
func (c *Core) PlanSwitchover(now Now, to NodeID, reason, by string) (Entry, error) {
	if c.record.Primary == "" {
		return Entry{}, ErrNoPrimary
	}
	if to == "" {
		for _, n := range c.members() {
			if n != c.record.Primary {
				to = n
			}
		}
	}
	switch {
	case !c.isMember(to):
		return Entry{}, &UnfitError{Node: to, Why: "it is no member of this pair"}
	case to == c.record.Primary:
		return Entry{}, ErrNoChange
	case !c.candidate(to):
		return Entry{}, &UnfitError{Node: to, Why: c.unfit(to)}
	}
	return Entry{Role: &RoleEntry{
		Epoch: c.record.Epoch + 1, To: to, At: now.Wall, Trigger: TriggerOperator, Reason: reason, By: by, Budget: c.opt.Budget,
	}}, nil
}

func (c *Core) unfit(id NodeID) string {
	if id == c.opt.Self {
		if c.state == Starting {
			return "it has only just started"
		}
		return ownReasons(c)
	}
	p := c.peers[id]
	switch {
	case p == nil || !c.fresh(p):
		return "nothing was heard from it lately"
	case c.seenDead(id):
		return "no other node gets an answer from its SIP server"
	case p.report.State == Starting:
		return "it has only just started"
	case len(p.report.Reasons) > 0:
		return joinReasons(p.report.Reasons)
	default:
		return "its SIP server: " + p.report.Server.Text
	}
}
