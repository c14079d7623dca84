package supervisor

import (
	"slices"
	"time"
)

// QuorumLoss is what a primary does whose lease ends because it reaches no majority.
type QuorumLoss string

// The policies.
const (
	Demote QuorumLoss = "demote" // drop the address: never two primaries
	Cling  QuorumLoss = "hold"   // keep it until another epoch is known: two primaries are possible, and status says so
)

// Options are what a core needs to know for its whole life.
type Options struct {
	Self         NodeID
	Nodes        []Node // all voters of the pair: two members and a witness
	Boot         uint64
	Timing       Timing
	OnQuorumLoss QuorumLoss
	Budget       Budget
	Fence        Fence
	BindWait     time.Duration // with a listener on neither member: how long a primary waits for its own before it lets the other try; 0: for ever
	ConfigHash   string
	Version      string
}

// Core decides for one node. It is pure: the same events at the same moments give the same actions. It is not safe for concurrent use.
//
// Invariants: the address is asked for only in Serving (or Clinging), only for the record's epoch, and never past the lease's end;
// state changes only through the rows of the table.
type Core struct {
	opt     Options
	self    Node
	others  []Node
	now     Now
	started bool

	state       State
	record      Record
	synced      bool
	epochAt     time.Duration // when this node learned of the record's epoch
	servedSince time.Duration // when it began to serve, in an epoch
	served      Epoch         // that epoch
	leader      NodeID
	vote        voter
	lease       lease

	sensed             Sensed
	leaving            bool
	peers              map[NodeID]*peer
	closers            map[NodeID]Epoch // voters that have closed an epoch for us
	hold               Hold             // last one asked for
	downAt             uint64           // serial of the newest Hold for which the effector said that the address is down
	freed              Epoch            // the primary of this epoch said that it holds nothing any more
	freedFor, givenFor Trigger          // why that primary, or this node, gave its epoch up
	newest             Epoch            // newest epoch that a named primary has spoken for
	heldUntil          time.Duration    // latest end ever asked for: afterwards the kernel or the effector has closed the address
	farewell           int              // how often the release of given is still repeated
	said               int              // how often it was sent

	nextClose, nextFarewell, nextPropose, nextReport time.Duration
	nextCampaign, nextTransfer, nextSettle           time.Duration
	nextAnnounce                                     time.Duration
	pathLostAt                                       time.Duration // since when all others find the service address dead; never: they don't
	serverAt                                         time.Duration // when the primary's server was last known to be dead or busy
	proposed                                         Epoch
	lates                                            uint64 // how often this loop came late
	told                                             Report
	out                                              []Action
}

type peer struct {
	report Report
	at     time.Duration // when the report came; far past before the first
	up     bool
}

const never = time.Duration(-1 << 62)

// New makes the core of one node, which starts at now.
func New(opt Options, now Now) *Core {
	c := &Core{opt: opt, now: now, state: Starting, peers: map[NodeID]*peer{}, closers: map[NodeID]Epoch{}}
	for _, n := range opt.Nodes {
		if n.ID == opt.Self {
			c.self = n
			continue
		}
		c.others = append(c.others, n)
		c.peers[n.ID] = &peer{at: never}
	}
	c.vote.free = now.Mono + opt.Timing.Promise(MaxGuard)
	c.vote.heard = now.Mono
	c.lease.begin(0, now.Mono)
	c.nextReport, c.pathLostAt, c.serverAt = now.Mono, never, never
	return c
}

// State is where the node stands.
func (c *Core) State() State { return c.state }

// Record is the role record as far as this node has applied it.
func (c *Core) Record() Record { return c.record }

// LeaseLeft is what is left of the lease that this node holds, or zero.
func (c *Core) LeaseLeft(now time.Duration) time.Duration {
	if !c.lease.runs(now, c.record.Epoch) {
		return 0
	}
	return c.lease.until - now
}

// Lates is how often this loop was called so late that half a lease went by.
func (c *Core) Lates() uint64 { return c.lates }

// Step takes the moment and an event and returns what shall be done, in order.
func (c *Core) Step(now Now, ev Event) []Action {
	c.out = nil
	gap := now.Mono - c.now.Mono
	late := c.started && gap > c.opt.Timing.Suspect*3/4
	c.now, c.started = now, true
	if late {
		// This loop was starved or frozen: silence in that window was its own.
		c.vote.heard = max(c.vote.heard, now.Mono)
		if gap > c.opt.Timing.Lease/2 {
			c.lates++
		}
	}
	c.settle() // what time alone has ended comes before anything that the event could do
	c.take(ev)
	c.settle()
	c.duties()
	c.settle()
	c.announce()
	return c.out
}

func (c *Core) take(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Received:
		c.receive(ev.From, ev.Message)
	case Applied:
		c.applied(ev)
	case Led:
		if ev.Leader != c.leader {
			c.leader, c.nextPropose, c.nextTransfer = ev.Leader, c.now.Mono, c.now.Mono+c.opt.Timing.RaftHeartbeat
		}
	case Refused:
		c.refused(ev)
	case Reported:
		if p := c.peers[ev.Report.Node]; p != nil {
			*p = peer{report: ev.Report, at: c.now.Mono, up: true}
		}
	case Lost:
		if p := c.peers[ev.Node]; p != nil {
			p.up = false
		}
	case Sensed:
		c.sensed = ev
	case AddressIs:
		if !ev.Held && ev.Err == nil {
			c.downAt = max(c.downAt, ev.Serial)
		}
	case Leave:
		c.leaving = true
	}
}

// applied takes a newer record. Promises to older epochs still run out; they are not forgotten because the record moved.
func (c *Core) applied(ev Applied) {
	c.synced = c.synced || ev.Synced
	if ev.Record.Epoch < c.record.Epoch {
		return // a restarted store replays its log
	}
	grown := ev.Record.Epoch > c.record.Epoch
	c.record = ev.Record
	c.newest = max(c.newest, c.record.Epoch)
	if !grown {
		return
	}
	now, t := c.now.Mono, c.opt.Timing
	c.epochAt = now
	c.lease.begin(c.record.Epoch, now)
	// The new primary needs time to collect promises before its silence means anything.
	c.vote.heard = now + t.Promise(0)
	c.vote.since = 0
	c.nextPropose = now
}

func (c *Core) refused(ev Refused) {
	wait := c.opt.Timing.Renew * 2
	if r := ev.Entry.Role; r != nil && isPolicy(ev.Err) {
		c.do(Alert{Name: "switchover-refused", Text: string(r.Trigger) + ": " + ev.Err.Error()})
		wait = time.Second
	}
	c.nextPropose = max(c.nextPropose, c.now.Mono+wait)
}

// settle follows the table's rows until none applies. Each row leaves its state, and no cycle of rows can hold at one moment.
func (c *Core) settle() {
	for range 8 {
		r := c.row()
		if r == nil {
			return
		}
		c.enter(*r)
	}
	panic("supervisor: the table has a cycle at state " + string(c.state))
}

// row finds the row that applies now, or nil.
func (c *Core) row() *row {
	for i := range table {
		r := &table[i]
		if slices.Contains(r.from, c.state) && r.when(c) {
			return r
		}
	}
	return nil
}

func (c *Core) enter(r row) {
	from := c.state
	c.state = r.to
	if r.to == Serving && c.served != c.record.Epoch {
		c.served, c.servedSince = c.record.Epoch, c.now.Mono
	}
	if r.do != nil {
		r.do(c)
	}
	c.level()
	why := r.why
	if r.detail != nil {
		why += ": " + r.detail(c)
	}
	c.do(Became{From: from, To: c.state, Epoch: c.record.Epoch, Primary: c.record.Primary, Why: why})
}

// level asks for the address as the state has it. Only changes and later ends are passed on.
func (c *Core) level() {
	want := Hold{Epoch: c.record.Epoch}
	switch c.state {
	case Serving:
		want.Held, want.Until = true, c.lease.until
	case Clinging:
		want.Held, want.Until = true, c.now.Mono+c.opt.Timing.Lease
	}
	if want.Held == c.hold.Held && (!want.Held || want.Epoch == c.hold.Epoch) {
		if want.Until <= c.hold.Until {
			return
		}
		want.Serial = c.hold.Serial
	} else {
		want.Serial = c.hold.Serial + 1
	}
	c.hold = want
	if want.Held {
		c.heldUntil = max(c.heldUntil, want.Until)
	}
	c.do(want)
}

// down reports whether the effector has confirmed that the address is down as last asked.
func (c *Core) down() bool { return !c.hold.Held && c.downAt >= c.hold.Serial }

func (c *Core) do(a Action) { c.out = append(c.out, a) }

func (c *Core) send(to NodeID, m Message) { c.do(Send{To: to, Message: m}) }

func (c *Core) quorum() int { return len(c.opt.Nodes)/2 + 1 }

func (c *Core) isPrimary() bool { return c.record.Primary == c.opt.Self }

func (c *Core) isMember(id NodeID) bool {
	for _, n := range c.opt.Nodes {
		if n.ID == id {
			return !n.Witness
		}
	}
	return false
}

// Gone reports whether this node, being stopped, holds nothing and everybody who needs to know was told. With nobody to take the role
// there is nothing to wait for.
func (c *Core) Gone() bool {
	switch {
	case c.state == Serving || c.state == Clinging || !c.down():
		return false
	case c.state == Yielding:
		return c.said >= farewells && !otherFit(c)
	}
	return c.farewell == 0
}

// Leader is the node that leads Raft as far as this node knows; empty if none.
func (c *Core) Leader() NodeID { return c.leader }

// Heard gives the last report of each other node and how long ago it came.
func (c *Core) Heard(now Now) map[NodeID]HeardReport {
	m := make(map[NodeID]HeardReport, len(c.peers))
	for id, p := range c.peers {
		if p.at != never {
			m[id] = HeardReport{Report: p.report, Age: now.Mono - p.at}
		}
	}
	return m
}

// HeardReport is a report and how long ago it came.
type HeardReport struct {
	Report
	Age time.Duration
}
