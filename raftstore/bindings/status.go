package bindings

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Status is how a store is.
type Status struct {
	Epoch    supervisor.Epoch
	Primary  bool
	Records  int // addresses of record with bindings
	Bindings int
	By       [2]int // of these, by the member at which the phone registered last
	Flows    int    // of these, that live as long as a connection: after a switchover these phones have to connect again
	Whole    bool   // nothing that this member once knew may be missing
	DiskErr  error  // why changes are not written to disk; nil if they are

	Connected bool          // to the peer
	Compared  time.Duration // when the tables were compared last, on the store's clock; 0: never on this stream
	Since     time.Duration // since when they have been equal, or have not
	Differing []int         // buckets that differed then
	Behind    int           // changed records of our own that the peer has not acknowledged, at most 10,000 counted
	Lag       Lag
	Sent      uint64 // records
	BytesIn   uint64 // of streams, before TLS
	BytesOut  uint64
}

// InSync reports whether the members' tables are known to be equal.
func (s Status) InSync() bool { return s.Connected && s.Compared > 0 && len(s.Differing) == 0 }

const behindMost = 10_000

// Status tells how the store is. It is cheap.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.t
	st := Status{
		Epoch: s.epoch, Primary: s.leads, Records: t.records, Bindings: t.bindings[0] + t.bindings[1], By: t.bindings, Flows: t.flows, Whole: t.known.whole, DiskErr: s.diskErr, Connected: s.current != nil,
		Compared: s.equal.at, Since: s.equal.since, Differing: s.equal.buckets, Lag: s.lag.lag(), Sent: s.sent,
		BytesIn: s.bytes.in.Load(), BytesOut: s.bytes.out.Load(),
	}
	for e := t.lists[t.us].last; e != nil && e.version > t.known.ours && st.Behind < behindMost; e = e.prev {
		st.Behind++
	}
	return st
}
