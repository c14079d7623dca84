package supervisor

import (
	"fmt"
	"strings"
	"time"
)

// Explanation is why the role is where it is, as one node sees it, and what would move it.
type Explanation struct {
	Node     NodeID   `json:"node"` // whose view this is
	Primary  NodeID   `json:"primary"`
	Epoch    Epoch    `json:"epoch"`
	Decision string   `json:"decision"`
	Facts    []Fact   `json:"facts"`
	Moves    []string `json:"moves"` // what would move the role now
	Holds    []string `json:"holds"` // what keeps it, or would not move it
}

// Fact is one thing that a node knows.
type Fact struct {
	About NodeID `json:"about"` // the member that it is about; empty: the pair
	From  NodeID `json:"from"`  // who sees it
	What  string `json:"what"`  // "own probe", "service address", "traffic", "lease", ...
	Says  string `json:"says"`
	Vote  Vote   `json:"vote"`
}

// Vote is what a fact says about moving the role.
type Vote string

// The votes.
const (
	VoteStay Vote = "stay"
	VoteMove Vote = "move"
	VoteNone Vote = ""
)

// Explain tells why the role is where it is.
func (c *Core) Explain(now Now) Explanation {
	e := Explanation{Node: c.opt.Self, Primary: c.record.Primary, Epoch: c.record.Epoch}
	for _, m := range c.members() {
		e.Facts = append(e.Facts, c.factsAbout(m, now)...)
	}
	e.Facts = append(e.Facts, c.factsAboutPair(now)...)
	e.Decision = c.decision()
	e.Moves, e.Holds = c.outlook(now)
	return e
}

// factsAbout collects what is known of a member: from itself, then from the others.
func (c *Core) factsAbout(m NodeID, now Now) []Fact {
	r, age, known := c.reportOf(m, now)
	if !known {
		says := "nothing was heard from it yet"
		if age != 0 {
			says = fmt.Sprintf("nothing was heard from it for %v", age.Round(100*time.Millisecond))
		}
		return append([]Fact{{About: m, From: c.opt.Self, What: "report", Says: says, Vote: VoteNone}}, c.seenOf(m)...)
	}
	primary := m == c.record.Primary
	fs := []Fact{{About: m, From: m, What: "state", Says: string(r.State)}}
	vote := VoteNone
	if primary {
		vote = voteOf(r.Server.Class == ClassServing || r.Server.Class == ClassDraining)
	}
	fs = append(fs, Fact{About: m, From: m, What: "own probe", Says: string(r.Server.Class) + textOf(r.Server), Vote: vote})
	if primary && r.Server.Busy {
		fs = append(fs, Fact{About: m, From: m, What: "receive queue", Says: "requests are answered, but more wait than should", Vote: VoteStay})
	}
	for _, reason := range r.Reasons {
		f := Fact{About: m, From: m, What: "reason", Says: string(reason)}
		if primary {
			f.Vote = VoteMove
		}
		fs = append(fs, f)
	}
	if !primary {
		f := Fact{About: m, From: m, What: "ready", Says: "could take over now"}
		if !c.candidate(m) {
			f.Says = "cannot take over: " + c.unfit(m)
		}
		fs = append(fs, f)
	}
	return append(fs, c.seenOf(m)...)
}

// seenOf is what the others see of a member's own SIP address and, of the primary, of the service address.
func (c *Core) seenOf(m NodeID) []Fact {
	var fs []Fact
	see := func(from NodeID, what string, v View, vote Vote) {
		fs = append(fs, Fact{About: m, From: from, What: what, Says: string(v.Class) + textOf(v), Vote: vote})
	}
	for from, v := range c.views(m, func(r *Report) View { return r.Members[m] }, c.sensed.Members[m]) {
		see(from, "probe of its own address", v, VoteNone)
	}
	if m == c.record.Primary {
		for from, v := range c.serviceViews() {
			see(from, "probe of the service address", v, voteOf(!isDead(v)))
		}
	}
	return fs
}

// factsAboutPair is what is about no member alone.
func (c *Core) factsAboutPair(now Now) []Fact {
	leader := string(c.leader)
	if leader == "" {
		leader = "nobody"
	}
	fs := []Fact{{From: c.opt.Self, What: "raft leader", Says: leader}}
	add := func(what, format string, args ...any) {
		fs = append(fs, Fact{From: c.opt.Self, What: what, Says: fmt.Sprintf(format, args...)})
	}
	if left := c.LeaseLeft(now.Mono); left > 0 {
		add("lease", "runs for %v more", left.Round(time.Millisecond))
	} else if !c.isPrimary() && c.vote.since != 0 {
		add("lease", "the primary was heard %v ago", (now.Mono - c.vote.heard).Round(time.Millisecond))
	}
	if t := c.sensed.Traffic; t.Watched && c.isPrimary() {
		add("traffic", "last SIP message %v ago, the limit is %v (factor %d)%s", c.quiet().Round(100*time.Millisecond), c.quietLimit(),
			c.record.Factor(TriggerSilence, c.opt.Self, t.Period), map[bool]string{true: ", all checked devices are out of service"}[t.AllOut])
	}
	add("budget", "%d of %d judged switchovers left in %v", c.record.BudgetLeft(c.opt.Budget, now.Wall), c.opt.Budget.Count, c.opt.Budget.Per)
	if c.record.PausedAt(now.Wall) {
		add("pause", "automatic switchovers are paused until %s by %s: %s", c.record.Paused.Until.Format(time.RFC3339), c.record.Paused.By, c.record.Paused.Reason)
	}
	return fs
}

// decision is the sentence in force.
func (c *Core) decision() string {
	p := c.record.Primary
	switch {
	case p == "":
		return "nobody is primary yet: the first member that can serve will be chosen"
	case c.isPrimary() && c.state == Serving, !c.isPrimary() && !primarySilent(c):
		return fmt.Sprintf("keep %s as primary of epoch %d", p, c.record.Epoch)
	case c.isPrimary():
		return fmt.Sprintf("%s is named for epoch %d and is %s", p, c.record.Epoch, c.state)
	default:
		return fmt.Sprintf("%s is named for epoch %d and is silent here; this node is %s", p, c.record.Epoch, c.state)
	}
}

// outlook tells what would move the role and what keeps it.
func (c *Core) outlook(now Now) (moves, holds []string) {
	p := c.record.Primary
	if p == "" {
		return nil, nil
	}
	other := NodeID("")
	for _, m := range c.members() {
		if m != p {
			other = m
		}
	}
	if !c.candidate(other) {
		holds = append(holds, fmt.Sprintf("nothing moves the role but an empty place: %s cannot take over (%s)", other, c.unfit(other)))
	} else {
		moves = append(moves,
			fmt.Sprintf("%s is silent for %v and a majority agrees", p, c.opt.Timing.Suspect),
			fmt.Sprintf("%s finds its own SIP server dead or hung, its interface down, or its address refused", p),
			fmt.Sprintf("both other nodes get no answer from the service address for %v, and the budget is not spent", c.opt.Timing.VantageSilence),
			"an operator: understudy switchover")
	}
	if r, _, known := c.reportOf(p, now); known && r.Server.Busy {
		holds = append(holds, "the SIP server is busy: whoever gets no answer in time has found no broken path")
	}
	if paused(c) {
		holds = append(holds, "the pause: only an operator, a stopped sidecar or a lost lease moves the role")
	}
	if c.record.BudgetLeft(c.opt.Budget, now.Wall) == 0 {
		holds = append(holds, "the switchover budget is spent: what others see of the service address no longer moves the role")
	}
	return moves, append(holds, "not moved by: a lost witness or backup, 503 from the SIP server, what only one node sees")
}

// reportOf is a node's own word: its last report, or what this node would report now. age tells how old one is that is too old.
func (c *Core) reportOf(id NodeID, now Now) (r Report, age time.Duration, known bool) {
	if id == c.opt.Self {
		return c.Report(), 0, true
	}
	p := c.peers[id]
	if p == nil || p.at == never {
		return Report{}, 0, false
	}
	if !c.fresh(p) {
		return Report{}, now.Mono - p.at, false
	}
	return p.report, 0, true
}

func voteOf(good bool) Vote {
	if good {
		return VoteStay
	}
	return VoteMove
}

func textOf(v View) string {
	if v.Text == "" {
		return ""
	}
	return " (" + strings.TrimSpace(v.Text) + ")"
}
