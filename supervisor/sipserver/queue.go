package sipserver

import "time"

// Queue is what waits in the server's sockets for the server to read it.
type Queue struct {
	Unread  int // UDP: octets in the receive queues, as the kernel counts them (with its own overhead)
	Buffer  int // UDP: the limit of Unread
	Drops   int // datagrams and connections that the kernel has thrown away at these sockets since they were opened
	Backlog int // TCP: connections that wait to be accepted
}

const (
	nearlyFull   = 0.75            // a receive queue as full as this is a sign of overload
	overloadLast = 5 * time.Second // how long a sign of overload lasts
	waiting      = 0.05            // a queue as full as this makes answers late
	servingLast  = 2 * time.Second // how long an answer says something of a server whose queue is that full
)

// queue is one socket over time.
type queue struct {
	transport  string
	connection bool
	unread     int
	drops      uint32
	since      time.Duration // since when there is something unread, and was not seen to become less
}

// queues watch whether what arrives is read. An empty queue says nothing: perhaps nothing arrives.
type queues struct {
	seen     bool // sockets can be seen at all
	facts    Queue
	known    map[uint64]*queue        // by cookie
	read     map[string]time.Duration // by transport: when one of its sockets was last seen to be read
	overflow time.Duration            // when the last sign of overload was seen
	spilled  bool                     // there was one
	waits    bool                     // the last look found one so full that answers are late
}

func newQueues() queues {
	return queues{known: map[uint64]*queue{}, read: map[string]time.Duration{}}
}

// sampled takes how full the sockets are that the server listens on. none means that they can't be seen.
func (q *queues) sampled(now time.Duration, sockets []socket) {
	q.seen, q.facts, q.waits = len(sockets) > 0, Queue{}, false
	for _, s := range sockets {
		q.facts.Drops += int(s.drops)
		if s.transport == "udp" {
			q.facts.Unread += s.unread
			q.facts.Buffer += s.limit
		} else {
			q.facts.Backlog += s.unread
		}
		old := q.known[s.cookie]
		full := s.limit > 0 && float64(s.unread) >= nearlyFull*float64(s.limit)
		if s.limit > 0 && float64(s.unread) >= waiting*float64(s.limit) {
			q.waits = true
		}
		if full || (old != nil && s.drops != old.drops) {
			q.overflow, q.spilled = now, true
		}
	}
	q.update(now, sockets, false)
}

// connected takes how full the connections are.
func (q *queues) connected(now time.Duration, connections []socket) { q.update(now, connections, true) }

func (q *queues) update(now time.Duration, sockets []socket, connection bool) {
	here := make(map[uint64]bool, len(sockets))
	for _, s := range sockets {
		here[s.cookie] = true
		k := q.known[s.cookie]
		switch {
		case k == nil:
			k = &queue{transport: s.transport, connection: connection, since: now}
			q.known[s.cookie] = k
		case s.unread < k.unread:
			q.read[s.transport], k.since = now, now
		case k.unread == 0:
			k.since = now
		}
		k.unread, k.drops = s.unread, s.drops
	}
	for cookie, k := range q.known {
		if k.connection == connection && !here[cookie] {
			delete(q.known, cookie)
		}
	}
}

// wasRead says that something of a transport was read for certain: it was answered.
func (q *queues) wasRead(now time.Duration, transport string) { q.read[transport] = now }

// stuck tells whether something waits unread, and since when nothing of its transport was read. Where several sockets share the work
// of a transport, one that is read speaks for all: a server that reads is not hung.
func (q *queues) stuck() (since time.Duration, ok bool) {
	for _, k := range q.known {
		if k.unread == 0 {
			continue
		}
		if at := max(k.since, q.read[k.transport]); !ok || at < since {
			since, ok = at, true
		}
	}
	return since, ok
}

// overflowed tells whether there was a sign of overload lately.
func (q *queues) overflowed(now time.Duration) bool {
	return q.spilled && now-q.overflow < overloadLast
}
