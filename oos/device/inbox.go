package device

import (
	"net/netip"
	"time"
)

// mostNotes bounds what waits for the goroutine of Run. Hints beyond it are dropped: the next message of the device is another.
const mostNotes = 1 << 14

// note is told to the goroutine of Run.
type note struct {
	slot int32
	at   time.Duration

	kind  Kind // a hint
	retry time.Duration

	looked bool // a name was looked up
	addrs  []netip.Addr

	dial   *dial // a connection was made or not
	link   *link // it is made, or it has something to say
	octets []byte
	err    error
}

// Hint is what was seen in traffic.
type Hint struct {
	Device     string         // its name; empty: known by From
	From       netip.AddrPort // its address; the port decides among several devices on one address
	Kind       Kind
	RetryAfter time.Duration // of Unavailable; 0: nothing
}

// Heard takes a hint. It costs next to nothing if the hint changes nothing, and may be called by many goroutines, before Run too.
func (c *Checker) Heard(h Hint) {
	n, ok := c.find(h)
	if !ok || c.slots[n].heeds.Load()&(1<<h.Kind) == 0 {
		return
	}
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if len(c.in) >= mostNotes || !c.want {
		return
	}
	c.in = append(c.in, note{slot: n, at: c.now(), kind: h.Kind, retry: h.RetryAfter})
	c.wake()
}

// find gives the device that a hint is about. Of several on one address none is meant if none has the port: one that lives must not
// speak for its neighbour.
func (c *Checker) find(h Hint) (number int32, ok bool) {
	if h.Device != "" {
		number, ok = c.numbers[h.Device]
		return number, ok
	}
	c.addrMu.RLock()
	defer c.addrMu.RUnlock()
	there := c.byAddr[h.From.Addr().Unmap().WithZone("")]
	for _, n := range there {
		if c.slots[n].port() == h.From.Port() {
			return n, true
		}
	}
	if len(there) == 1 {
		return there[0], true
	}
	return 0, false
}

func (s *slot) port() uint16 { return s.site.port }

// tell passes a note on.
func (c *Checker) tell(n note) {
	c.inMu.Lock()
	defer c.inMu.Unlock()
	n.at = c.now()
	c.in = append(c.in, n)
	c.wake()
}

// takeNotes takes what was told.
func (c *Checker) takeNotes() {
	c.inMu.Lock()
	if c.woken { // the alarm has rung instead of when it was to
		c.woken, c.alarm = false, 0
	}
	notes := c.in
	c.in, c.spare = c.spare[:0], nil
	want, turn := c.want, c.turn
	c.inMu.Unlock()
	if turn != c.begun || want != c.active {
		c.begun = turn
		c.activate(want, c.now())
	}
	for i := range notes {
		c.takeNote(&notes[i])
		notes[i] = note{}
	}
	if cap(notes) <= 1024 {
		c.spare = notes[:0]
	}
}

func (c *Checker) takeNote(n *note) {
	s := &c.slots[n.slot]
	switch {
	case n.kind != 0:
		if !c.active {
			return
		}
		s.overheard(n.at, n.kind, n.retry, n.retry > 0)
	case n.looked:
		c.lookedUp(s, n)
	case n.dial != nil:
		c.dialed(s, n)
	case n.err != nil:
		c.broke(s, n)
	default:
		c.replied(s, n)
	}
	c.changed(s, n.at)
}
