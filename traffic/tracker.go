package traffic

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Bounds of what is kept of TCP connections. A flood pushes out the connections that were silent for longest: when such a one goes on, it
// is joined in the middle, which costs a message that was under way at most.
const (
	maxFlows     = 1 << 15         // directions of connections
	maxPartial   = 8 << 20         // octets of messages whose rest has not come, in all; what is beyond pushes out somebody's
	maxEarly     = 4 << 20         // octets behind holes, in all, what each segment costs besides included
	maxEarlyFlow = 128 << 10       // of one direction
	earlyCost    = 64              // of a segment
	holeLife     = 2 * time.Second // then what is missing was lost by us, or is not wanted any more
	partialLife  = 32 * time.Second
	window       = 1 << 20 // sequence numbers farther away belong to another connection
)

// reader takes the octets of one direction of a connection, in order.
type reader interface {
	feed(b []byte, at time.Duration)
	gap()          // octets are missing
	buffered() int // octets that it keeps
}

// tracker puts TCP segments in order. Segments behind a hole wait for what is missing, for a while; then the hole is skipped.
type tracker struct {
	open  func(flowKey) reader
	flows map[flowKey]*flow
	lru   flow           // ring of all flows: lru.newer is the one that was silent for longest
	holes map[*flow]bool // those with a hole
	parts map[*flow]int  // those whose reader keeps octets, and how many
	early int            // octets behind holes
	kept  int            // octets that readers keep
	lossy time.Duration  // until then holes are of our own making
}

// flowKey is source and destination of a segment: addresses, ports.
type flowKey [36]byte

func keyOf(src, dst netip.AddrPort) (k flowKey) {
	s, d := src.Addr().As16(), dst.Addr().As16()
	copy(k[:16], s[:])
	copy(k[16:32], d[:])
	binary.BigEndian.PutUint16(k[32:], src.Port())
	binary.BigEndian.PutUint16(k[34:], dst.Port())
	return k
}

// reversed is the key of the other direction.
func (k flowKey) reversed() (r flowKey) {
	copy(r[:16], k[16:32])
	copy(r[16:32], k[:16])
	copy(r[32:34], k[34:])
	copy(r[34:], k[32:34])
	return r
}

// flow is one direction of a connection.
type flow struct {
	key   flowKey
	next  uint32 // sequence number of the octet that comes next
	last  time.Duration
	since time.Duration // of the hole
	early []early
	bytes int // cost of early
	reader

	newer, older *flow
}

// early is a segment behind a hole.
type early struct {
	seq  uint32
	data []byte
}

func newTracker(open func(flowKey) reader) *tracker {
	t := &tracker{open: open, flows: map[flowKey]*flow{}, holes: map[*flow]bool{}, parts: map[*flow]int{}}
	t.lru.newer, t.lru.older = &t.lru, &t.lru
	return t
}

// add takes a segment.
func (t *tracker) add(key flowKey, s segment, now time.Duration) {
	f := t.flows[key]
	switch {
	case s.rst:
		t.drop(f)
		t.drop(t.flows[key.reversed()])
		return
	case s.syn:
		s.seq++
		if f == nil || f.next-s.seq > window { // else sent again: a new connection begins ahead
			t.drop(f)
			f = t.begin(key)
			f.next = s.seq
		}
	case f == nil && len(s.data) == 0:
		return
	case f == nil: // it began before we looked
		f = t.begin(key)
		f.next = s.seq
		f.gap()
	}
	t.touch(f, now)
	if len(s.data) > 0 {
		t.take(f, s.seq, s.data, now)
		t.account(f)
	}
	if s.fin && f.next == s.seq+uint32(len(s.data)) {
		t.drop(f)
	}
}

// take delivers what is next, keeps what is too early and forgets what was there before.
func (t *tracker) take(f *flow, seq uint32, data []byte, now time.Duration) {
	switch ahead := int32(seq - f.next); {
	case ahead > window || ahead < -window:
		t.forget(f)
		f.gap()
		f.next = seq
	case ahead > 0:
		t.keep(f, seq, data, now)
		return
	case int(-ahead) >= len(data): // sent again, or a keep-alive of TCP
		return
	default:
		data = data[-ahead:]
	}
	f.next += uint32(len(data))
	f.feed(data, f.last)
	t.catchUp(f)
}

// keep holds a segment behind a hole.
func (t *tracker) keep(f *flow, seq uint32, data []byte, now time.Duration) {
	if len(f.early) == 0 {
		f.since = now
		t.holes[f] = true
	}
	at, known := slices.BinarySearchFunc(f.early, seq, func(e early, seq uint32) int { return int(int32(e.seq - seq)) })
	if known && len(f.early[at].data) >= len(data) {
		return
	}
	f.early = slices.Insert(f.early, at, early{seq: seq, data: slices.Clone(data)})
	f.bytes += len(data) + earlyCost
	t.early += len(data) + earlyCost
	for len(f.early) > 0 && (now < t.lossy || f.bytes > maxEarlyFlow || t.early > maxEarly || now-f.since > holeLife) {
		t.skip(f)
	}
}

// skip gives up the hole before what was kept.
func (t *tracker) skip(f *flow) {
	f.gap()
	f.next = f.early[0].seq
	t.catchUp(f)
}

// catchUp delivers what has no hole before it any more.
func (t *tracker) catchUp(f *flow) {
	n := 0
	for ; n < len(f.early); n++ {
		e := f.early[n]
		ahead := int32(e.seq - f.next)
		if ahead > 0 {
			break
		}
		f.bytes -= len(e.data) + earlyCost
		t.early -= len(e.data) + earlyCost
		if int(-ahead) < len(e.data) {
			f.next += uint32(len(e.data) + int(ahead))
			f.feed(e.data[-ahead:], f.last)
		}
	}
	if n > 0 {
		f.early = slices.Delete(f.early, 0, n)
		f.since = f.last // of the next hole, if there is one
	}
	if len(f.early) == 0 {
		f.early = nil
		delete(t.holes, f)
	}
}

// forget drops what is behind a hole.
func (t *tracker) forget(f *flow) {
	t.early -= f.bytes
	f.early, f.bytes = nil, 0
	delete(t.holes, f)
}

// account keeps the sum of what readers keep, and bounds it: a random one, most likely one of those that a flood has made, has to give way.
func (t *tracker) account(f *flow) {
	n, was := f.buffered(), t.parts[f]
	if n == was {
		return
	}
	t.kept += n - was
	if n == 0 {
		delete(t.parts, f)
		return
	}
	t.parts[f] = n
	for victim := range t.parts {
		if t.kept <= maxPartial {
			break
		}
		t.release(victim)
	}
}

// release takes from a reader what it keeps.
func (t *tracker) release(f *flow) {
	f.gap()
	t.kept -= t.parts[f]
	delete(t.parts, f)
}

// sweep gives up what has waited for too long.
func (t *tracker) sweep(now time.Duration) {
	for f := range t.holes {
		for len(f.early) > 0 && (now < t.lossy || now-f.since > holeLife) {
			t.skip(f)
		}
		t.account(f)
	}
	for f := range t.parts {
		if now-f.last > partialLife {
			t.release(f)
		}
	}
}

// lost tells that we have missed segments: waiting for them would only make late what comes behind them.
func (t *tracker) lost(now time.Duration) { t.lossy = now + holeLife }

// waits reports whether sweep may find something some day.
func (t *tracker) waits() bool { return len(t.holes)+len(t.parts) > 0 }

func (t *tracker) begin(key flowKey) *flow {
	if len(t.flows) >= maxFlows {
		t.drop(t.lru.newer)
	}
	f := &flow{key: key, reader: t.open(key)}
	t.flows[key] = f
	f.link(&t.lru)
	return f
}

// drop forgets a flow, if there is one.
func (t *tracker) drop(f *flow) {
	if f == nil {
		return
	}
	t.forget(f)
	t.kept -= t.parts[f]
	delete(t.parts, f)
	delete(t.flows, f.key)
	f.unlink()
}

// touch makes f the flow that was heard of last.
func (t *tracker) touch(f *flow, now time.Duration) {
	f.last = now
	if t.lru.older != f {
		f.unlink()
		f.link(&t.lru)
	}
}

func (f *flow) link(ring *flow) {
	f.older, f.newer = ring.older, ring
	f.older.newer, f.newer.older = f, f
}

func (f *flow) unlink() { f.older.newer, f.newer.older = f.newer, f.older }
