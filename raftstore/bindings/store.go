package bindings

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
)

// Options configure a store. All but Dir must be set.
type Options struct {
	Self   Author // this member, in the order of names
	Dir    string // where the table is kept; empty: in memory alone
	Logger *zap.Logger
	Clock  Clock
}

// Store holds the registrations of a pair at one member, and keeps them the same at both.
type Store struct {
	o    Options
	log  *zap.Logger
	work chan struct{} // something is to be sent

	mu        sync.Mutex
	t         *table
	files     *journal // nil without a folder; its methods are for one goroutine, see keepFiles
	id        uint64   // of the table
	peer      uint64   // identity of the peer's table
	epoch     supervisor.Epoch
	leads     bool
	led       supervisor.Epoch // the last epoch that this member led and that is over
	ledEnd    time.Duration    // when it ended here
	current   *session
	sessions  uint32
	roles     chan struct{} // closed at each change of the role
	follow    chan struct{} // closed when records have changed that nobody has taken, see Take
	waiting   time.Duration // since when the oldest change waits to be sent
	sent      uint64        // records
	lag       lagMeter
	equal     comparison
	bytes     octets
	diskErr   error
	savedMeta meta
}

// comparison is what comparing the tables gave.
type comparison struct {
	at      time.Duration // when it was done last; 0: never
	since   time.Duration // since when it has given the same
	buckets []int         // that differed
}

// Open opens the table of a member.
func Open(o Options) (*Store, error) {
	if o.Self > 1 || o.Logger == nil || o.Clock.Now == nil || o.Clock.Wall == nil {
		return nil, errors.New("bindings: open: options are missing")
	}
	s := &Store{
		o: o, log: o.Logger.Named("bindings"), work: make(chan struct{}, 1), t: newTable(o.Self),
		roles: make(chan struct{}), follow: make(chan struct{}),
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	s.id = le.Uint64(id[:])
	if o.Dir != "" {
		if err := s.restore(); err != nil {
			return nil, fmt.Errorf("bindings: open %s: %w", o.Dir, err)
		}
	}
	return s, nil
}

// Cause is the REGISTER that changed something, where it is known: with it, a removal is known to be later than what the peer may have.
type Cause struct {
	CallID string
	CSeq   uint32
}

// Set makes bindings the state of an address of record, as the primary's server has it. It is for the primary: elsewhere it gives
// ErrBackup, but for a while after this member was primary: what its server accepted just before counts, unless the new primary has changed
// it.
func (s *Store) Set(aor string, now []location.Binding, by Cause) error {
	if err := checkSize(aor, now); err != nil {
		return fmt.Errorf("bindings: %w", err)
	}
	now = slices.Clone(now)
	for i := range now {
		now[i].Expires = min(now[i].Expires, never) // one that never expires is as good as one that does in a hundred years
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	epoch := s.epoch
	if !s.leads {
		if epoch = s.led; !s.mayAdd(aor) {
			return ErrBackup
		}
	}
	if s.t.set(epoch, aor, now, by, s.o.Clock.Now()) {
		s.changed()
		s.signal()
	}
	return nil
}

// addTime is how long after its time a former primary may add what happened in it.
const addTime = 5 * time.Second

// mayAdd reports whether a former primary may. The lock is held.
func (s *Store) mayAdd(aor string) bool {
	return s.led > 0 && s.o.Clock.Now()-s.ledEnd < addTime && s.t.get(aor).Version.Epoch() <= s.led
}

// never is the latest moment that a record can hold.
const never = (1<<32 - 1) * second

// ErrBackup reports that a change was made where the pair does not make it.
var ErrBackup = errors.New("bindings: this member is not the primary")

// Self is which member this is.
func (s *Store) Self() Author { return s.o.Self }

// Get is what is known of an address of record. Without bindings it is not registered.
func (s *Store) Get(aor string) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.get(aor)
}

// Walk gives every record that has bindings, until f has had enough. Those that change meanwhile are given as they were or as they are.
func (s *Store) Walk(f func(Record) bool) {
	for i := range s.t.buckets {
		for _, r := range s.bucket(i) {
			if !f(r) {
				return
			}
		}
	}
}

func (s *Store) bucket(i int) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var records []Record
	for _, e := range s.t.buckets[i].records {
		if e.size > 0 {
			records = append(records, e.record())
		}
	}
	return records
}

// SetRole tells the role of this member in an epoch.
func (s *Store) SetRole(epoch supervisor.Epoch, primary bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch && s.leads == primary {
		return
	}
	if s.leads {
		s.led, s.ledEnd = s.epoch, s.o.Clock.Now()
	}
	s.epoch, s.leads = epoch, primary
	if x := s.current; x != nil {
		go func() { _ = x.conn.Close() }() // TLS says goodbye first, and may wait for that
	}
	close(s.roles)
	s.roles = make(chan struct{})
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Run keeps a stream to the peer while this member is the primary, and expires what nobody refreshed. dial opens a stream.
func (s *Store) Run(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.keepHouse(ctx) })
	wg.Go(func() { s.keepFiles(ctx) })
	pause, said := firstRetry, ""
	for ctx.Err() == nil {
		leads, changed := s.role()
		if leads {
			began := time.Now()
			err := s.connect(ctx, dial)
			if time.Since(began) > lastRetry {
				pause = firstRetry
			}
			if text := err.Error(); text != said { // nobody wants to read every attempt at a peer that is away
				said = text
				s.log.Info("stream to the peer ended", zap.Error(err))
			}
		}
		var retry <-chan time.Time
		if leads {
			retry = time.After(pause)
			pause = min(2*pause, lastRetry)
		}
		select {
		case <-ctx.Done():
		case <-changed:
			pause = firstRetry
		case <-retry:
		}
	}
	return nil
}

const (
	houseEvery = time.Second
	houseChunk = 1000 // records at a time, so that nobody waits for long
)

// keepHouse removes what has expired and forgets what nobody needs.
func (s *Store) keepHouse(ctx context.Context) {
	t := time.NewTicker(houseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for more := true; more && ctx.Err() == nil; {
			more = s.keepHouseOnce()
		}
	}
}

func (s *Store) keepHouseOnce() (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.bury(houseChunk)
	if !s.leads {
		return s.t.wait(s.o.Clock.Now(), houseChunk)
	}
	before := s.t.count
	more = s.t.expire(s.epoch, s.o.Clock.Now(), houseChunk)
	if s.t.count != before {
		s.changed()
		s.signal()
	}
	return more
}

func (s *Store) role() (leads bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads, s.roles
}

func (s *Store) connect(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	return s.Serve(ctx, conn)
}

// Serve speaks with the peer over a stream until it breaks. A later stream takes the place of an earlier one.
func (s *Store) Serve(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c := counted{ReadWriter: conn, in: &s.bytes.in, out: &s.bytes.out}
	x := &session{s: s, conn: conn, w: newFrameWriter(c), r: newFrameReader(c)}
	s.mu.Lock()
	if old := s.current; old != nil {
		go func() { _ = old.conn.Close() }()
	}
	s.current = x
	s.sessions++
	x.id = s.sessions
	s.mu.Unlock()
	err := x.run()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == x {
		s.current = nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closed: %w", err)
	}
	return err
}

// hello is what this member says of itself.
func (s *Store) hello() hello {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := hello{us: s.o.Self, table: s.id, peer: s.peer, epoch: uint64(s.epoch), leads: s.leads}
	us, them := s.o.Self, s.o.Self.other()
	h.have[them] = s.t.known.theirs
	h.have[us] = s.t.haveOurs()
	h.last[us], h.last[them] = s.t.lists[us].end(), s.t.lists[them].end()
	return h
}

// meet notes what the peer has, and where to begin.
func (s *Store) meet(x *session, h hello) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, us, them := s.t, s.o.Self, s.o.Self.other()
	if h.table != s.peer {
		s.peer, t.known.theirs = h.table, 0
	}
	t.known.ours, t.known.theirOwn = 0, h.have[them]
	if h.peer == s.id {
		t.known.ours = h.have[us]
	}
	t.overtake(h.last[us], s.o.Clock.Now())
	t.lists[us].follow(t.known.ours)
	t.lists[them].follow(h.have[them])
	s.waiting = s.o.Clock.Now()
	s.equal = comparison{}
	x.checkIt = true
}

// tick is called now and then while there is nothing to send: the tables are compared all the same.
func (s *Store) tick(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Clock.Now()
	if now-x.checked >= idleEvery {
		x.checkIt = true
	}
}

// signal wakes whoever sends.
func (s *Store) signal() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// changed wakes whoever follows the changes.
func (s *Store) changed() {
	if len(s.t.taking.waiting) > 0 {
		close(s.follow)
		s.follow = make(chan struct{})
	}
}

// compared notes what comparing the tables gave.
func (s *Store) compared(differing []int, now time.Duration) {
	was := &s.equal
	if was.at == 0 || (len(was.buckets) == 0) != (len(differing) == 0) {
		was.since = now
		if len(differing) > 0 {
			s.log.Warn("registrations of the members differ: repaired", zap.Int("buckets", len(differing)))
		}
	}
	was.at, was.buckets = now, differing
}

// Take gives the names of records that changed elsewhere since they were last taken, at most limit of them, and a channel that is closed
// when there are more. Whoever writes them to this member's server calls it, and asks for each as it is then.
func (s *Store) Take(limit int) ([]string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []string
	for _, e := range s.t.taking.take(limit) {
		taken = append(taken, e.aor)
	}
	return taken, s.follow
}

// Pending reports whether Take has yet to give an address of record.
func (s *Store) Pending(aor string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.t.entry(aor)
	return e != nil && e.marks&untaken != 0
}

// TakeAll makes Take give every record again: the server has lost what it was told.
func (s *Store) TakeAll() {
	for i := range s.t.buckets {
		s.mu.Lock()
		for _, e := range s.t.buckets[i].records {
			s.t.taking.add(e)
		}
		s.changed()
		s.mu.Unlock()
	}
}
