package supervisor

import "slices"

// row is one transition. The rows that leave one state exclude each other: at most one applies at any moment.
type row struct {
	from   []State
	when   func(*Core) bool
	to     State
	do     func(*Core)
	why    string             // the sentence that operators read
	detail func(*Core) string // what it was this time
}

func from(s ...State) []State { return s }

// table is every transition there is. A state without an applying row stays.
var table = []row{
	{from: from(Starting), when: all(canVote, isWitness), to: Witnessing,
		why: "the record is current and promises from before the start have run out"},
	{from: from(Starting), when: all(canVote, isMemberSelf, vacant), to: Vacant,
		why: "the record is current and names no primary yet"},
	{from: from(Starting), when: all(canVote, isMemberSelf, namesOther), to: Following,
		why: "the record is current and names the other member", do: (*Core).follow},
	{from: from(Starting), when: all(canVote, isMemberSelf, namesMe), to: Standing,
		why: "the record is current and names this node", do: (*Core).stand},

	{from: from(Vacant), when: namesOther, to: Following,
		why: "the other member was chosen", do: (*Core).follow},
	{from: from(Vacant), when: namesMe, to: Standing,
		why: "this node was chosen", do: (*Core).stand, detail: reason},

	{from: from(Following, Challenging, Claiming), when: namesMeAfresh, to: Standing,
		why: "this node was chosen", do: (*Core).stand, detail: reason},
	{from: from(Following), when: all(namesOther, freedHere, mayTake), to: Claiming,
		why: "the primary gave the role up"},
	{from: from(Following), when: all(namesOther, not(freedHere), primarySilent, mayTake), to: Challenging,
		why: "the primary is silent here", do: (*Core).challenge},
	{from: from(Challenging), when: all(namesOther, majorityClosed), to: Claiming,
		why: "a majority will never answer the silent primary again", do: (*Core).closeOwn},
	{from: from(Challenging), when: all(namesOther, not(majorityClosed), not(all(primarySilent, mayTake))), to: Following,
		why: "the challenge is over", detail: challengeOver},
	{from: from(Claiming), when: all(namesOther, not(all(closedHere, mayTake))), to: Following,
		why: "the claim is over", detail: challengeOver},
	{from: from(Claiming), when: all(namesMe, not(namesMeAfresh), not(all(barredLong, fit))), to: Standing,
		why: "the claim is over", do: (*Core).restand, detail: challengeOver},

	{from: from(Standing), when: all(namesMe, leaseRuns, fit), to: Serving,
		why: "a majority promised its support"},
	{from: from(Standing), when: namesOther, to: Following,
		why: "the other member was chosen", do: (*Core).follow, detail: reason},
	{from: from(Standing), when: all(namesMe, not(fit), canPassOn, not(paused)), to: Yielding,
		why: "this node can't serve and the other can", do: (*Core).yield, detail: ownReasons},
	{from: from(Standing), when: all(namesMe, fit, not(leaseRuns), barredLong), to: Claiming,
		why: "a voter has closed this epoch and nobody has taken the next"},

	{from: from(Serving), when: superseded, to: Yielding,
		why: "the role has moved on", do: (*Core).yield, detail: reason},
	{from: from(Serving), when: renewed, to: Standing,
		why: "this node was chosen again", do: (*Core).stand, detail: reason},
	{from: from(Serving), when: all(currentMine, mustYield), to: Yielding,
		why: "this node gives the role up", do: (*Core).yield, detail: ownReasons},
	{from: from(Serving), when: all(currentMine, not(mustYield), not(leaseRuns), demotes), to: Standing,
		why: "the lease ended without a majority's answer", do: (*Core).restand, detail: leaseEnded},
	{from: from(Serving), when: all(currentMine, not(mustYield), not(leaseRuns), not(demotes)), to: Clinging,
		why: "the lease ended without a majority's answer and on-quorum-loss is hold: two primaries are possible", detail: leaseEnded},

	{from: from(Clinging), when: any2(superseded, barred), to: Yielding,
		why: "the role has moved on", do: (*Core).yield, detail: reason},
	{from: from(Clinging), when: all(not(any2(superseded, barred)), renewed), to: Standing,
		why: "this node was chosen again", do: (*Core).stand},
	{from: from(Clinging), when: all(currentMine, not(barred), mustYield), to: Yielding,
		why: "this node gives the role up", do: (*Core).yield, detail: ownReasons},
	{from: from(Clinging), when: all(currentMine, not(barred), not(mustYield), leaseRuns), to: Serving,
		why: "a majority answers again"},

	{from: from(Yielding), when: all(namesOther, addressGone), to: Following,
		why: "the address is down and the other member is named", do: (*Core).follow},
	{from: from(Yielding), when: all(namesMeAfresh, addressGone), to: Standing,
		why: "the address is down and this node was chosen again", do: (*Core).stand, detail: reason},
}

type guard = func(*Core) bool

func all(gs ...guard) guard {
	return func(c *Core) bool {
		return !slices.ContainsFunc(gs, func(g guard) bool { return !g(c) })
	}
}

func any2(a, b guard) guard { return func(c *Core) bool { return a(c) || b(c) } }

func not(g guard) guard { return func(c *Core) bool { return !g(c) } }
