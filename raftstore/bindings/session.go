package bindings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	gather       = 5 * time.Millisecond // how long a change waits for others, to go in one batch
	batchSize    = 48 << 10             // octets of a batch, before they are deflated
	window       = 16                   // batches that may be under way
	checkEvery   = time.Second          // how often the tables are compared while there are changes
	idleEvery    = 10 * time.Second     // and while there are none: the peer is heard that often at least
	greetTimeout = 5 * time.Second
	silence      = 3 * idleEvery // after that the stream is given up
)

// session is one stream to the peer.
type session struct {
	s     *Store
	conn  net.Conn
	w     *frameWriter
	r     *frameReader
	leads bool
	epoch supervisor.Epoch
	top   supervisor.Epoch // the newest that either member knows
	id    uint32

	// Guarded by the store's lock.
	said    [2]Version // positions in the stream, by author
	heard   [2]Version
	nextID  uint32
	theirs  []*entry // what the peer calls by a number, by that number
	offered bool     // the backup has sent all that it had to: the primary may begin
	greeted bool     // the first batch has been sent
	flight  []batch
	repairs []int    // buckets to list
	wanted  []*entry // records to send again
	answers []frame  // to send as they are
	checked time.Duration
	checkIt bool // a check is due
}

// batch is one that is under way.
type batch struct {
	oldest time.Duration // since when its oldest change waited
	upTo   Version       // of our changes
}

// run speaks with the peer until the stream breaks. It always gives an error.
func (x *session) run() error {
	defer x.conn.Close()
	if err := x.greet(); err != nil {
		return err
	}
	gone := make(chan error, 1)
	stop := make(chan struct{})
	go func() { gone <- x.send(stop) }()
	err := x.receive()
	close(stop)
	_ = x.conn.Close()
	return errors.Join(err, <-gone)
}

// greet exchanges what both sides are and have.
func (x *session) greet() error {
	if err := x.conn.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	mine := x.s.hello()
	x.leads, x.epoch = mine.leads, supervisor.Epoch(mine.epoch)
	wrote := make(chan error, 1) // both may begin at once, and a stream may hold nothing
	go func() { wrote <- errors.Join(x.w.write(frameHello, mine.append(nil)), x.w.flush()) }()
	t, r, err := x.r.read()
	if err != nil {
		_ = x.conn.Close()
	}
	if err := errors.Join(err, <-wrote); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if t != frameHello {
		return fmt.Errorf("%w: frame %d instead of a greeting", errProtocol, t)
	}
	h, err := r.hello()
	if err != nil {
		return err
	}
	if h.us == mine.us {
		return fmt.Errorf("%w: both say that they are member %d", errProtocol, h.us)
	}
	if h.leads == mine.leads {
		return fmt.Errorf("%w (epoch %d here, %d there)", errRoles, mine.epoch, h.epoch)
	}
	x.top = max(x.epoch, supervisor.Epoch(h.epoch))
	if !x.sane(h.last[0]) || !x.sane(h.last[1]) {
		return fmt.Errorf("%w: versions %v", errProtocol, h.last)
	}
	x.s.meet(x, h)
	return x.conn.SetDeadline(time.Time{})
}

// sane reports whether a version can be: one of an epoch that is still to come, or with a count that nobody gets to, would outdo all that follow.
func (x *session) sane(v Version) bool { return v.Epoch() <= x.top && v.count() < maxCount/2 }

// errRoles reports that a stream is of no use just now.
var errRoles = errors.New("neither or both of the members are primary")

// errReplaced ends a stream whose peer has opened another.
var errReplaced = errors.New("a later stream has taken its place")

// send sends what there is to send, in batches.
func (x *session) send(stop <-chan struct{}) error {
	idle := time.NewTicker(checkEvery)
	defer idle.Stop()
	for {
		frames, more := x.batch()
		if err := x.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		for _, f := range frames {
			if err := x.w.write(f.t, f.payload); err != nil {
				return err
			}
		}
		if err := x.w.flush(); err != nil {
			return err
		}
		if more {
			select {
			case <-stop:
				return nil
			default:
				continue
			}
		}
		select {
		case <-stop:
			return nil
		case <-idle.C:
			x.s.tick(x)
			continue
		case <-x.s.work:
		}
		select {
		case <-stop:
			return nil
		case <-time.After(gather):
		}
	}
}

type frame struct {
	t       frameType
	payload []byte
}

// batch makes the next batch. There is more if it is full.
func (x *session) batch() (frames []frame, more bool) {
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != x {
		return nil, false // a later stream has taken its place, and the lists
	}
	now, t, size := s.o.Clock.Now(), s.t, 0
	add := func(kind frameType, payload []byte) {
		frames, size = append(frames, frame{kind, payload}), size+len(payload)
	}
	for _, a := range x.answers {
		add(a.t, a.payload)
	}
	x.answers = nil
	for len(x.repairs) > 0 && size < batchSize {
		add(frameBucket, t.listBucket(x.repairs[0]))
		x.repairs = x.repairs[1:]
	}
	for len(x.wanted) > 0 && size < batchSize {
		if e := x.wanted[0]; t.entry(e.aor) == e {
			add(frameRecord, x.full(e, now))
		}
		x.wanted = x.wanted[1:]
	}
	if x.leads && !x.offered || len(x.flight) >= window {
		return frames, size >= batchSize
	}
	var last Version
	records := 0
	for _, author := range []Author{t.us.other(), t.us} {
		for size < batchSize {
			e := t.lists[author].take()
			if e == nil {
				break
			}
			records++
			if author == t.us {
				last = e.version
			}
			if e.session == x.id && e.sent >= e.shape && e.size > 0 {
				add(frameRefresh, appendRefresh(nil, e, now))
				e.sent = e.version
				continue
			}
			add(frameRecord, x.full(e, now))
		}
	}
	drained := t.lists[0].next == nil && t.lists[1].next == nil
	if records > 0 || !x.greeted && drained {
		add(framePosition, x.position())
		x.flight = append(x.flight, batch{oldest: s.waiting, upTo: last})
		s.waiting = now
		s.sent += uint64(records)
	}
	if !x.greeted && drained {
		x.greeted = true
		if !x.leads {
			add(frameOffered, nil)
		}
	}
	repairing := len(x.wanted)+len(x.repairs) > 0
	if x.leads && drained && !repairing && (x.checkIt || records > 0 && now-x.checked >= checkEvery) {
		x.checked, x.checkIt = now, false
		add(frameCheck, le.AppendUint64(binary.AppendUvarint(nil, uint64(t.records)), t.digest))
	}
	return frames, repairing || !drained && len(x.flight) < window
}

// full is a record in full; the peer is told a number for it, if it has none yet.
func (x *session) full(e *entry, now time.Duration) []byte {
	if e.session != x.id {
		x.nextID++
		e.session, e.id = x.id, x.nextID
	}
	e.sent = e.version
	var gone []Binding
	if !x.leads {
		gone = x.s.t.removed.of[e.aor]
	}
	return appendRecord(nil, e, gone, e.id, now)
}

// position is up to which version the records of each author have been in the stream.
func (x *session) position() []byte {
	var b []byte
	for i := range x.s.t.lists {
		l := &x.s.t.lists[i]
		v := l.end()
		if l.next != nil {
			v = 0
			if l.next.prev != nil {
				v = l.next.prev.version
			}
		}
		b = binary.AppendVarint(b, int64(v-x.said[i]))
		x.said[i] = v
	}
	return b
}

// answer queues a frame.
func (x *session) answer(t frameType, payload []byte) {
	x.answers = append(x.answers, frame{t, payload})
	x.s.signal()
}

// receive takes what the peer sends.
func (x *session) receive() error {
	for {
		if err := x.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		t, r, err := x.r.read()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if err := x.handle(t, r); err != nil {
			return err
		}
	}
}

func (x *session) handle(kind frameType, r *reader) error {
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != x {
		return errReplaced
	}
	now, t := s.o.Clock.Now(), s.t
	switch kind {
	case frameRecord:
		rec, id, err := r.record(now)
		if err == nil && !x.sane(rec.Version) {
			err = fmt.Errorf("%w: version %v", errProtocol, rec.Version)
		}
		if err != nil {
			return err
		}
		t.receive(rec, x.leads, x.epoch, now)
		return x.name(id, t.entry(rec.AOR))
	case frameRefresh:
		id := r.uint32()
		if id == 0 || int(id) >= len(x.theirs) || x.theirs[id] == nil {
			return fmt.Errorf("%w: refresh of record %d", errProtocol, id)
		}
		if e := x.theirs[id]; t.entry(e.aor) == e {
			rec := e.record()
			if ok, err := r.refresh(&rec, now); !ok || !x.sane(rec.Version) {
				return err // what is wrong is found and repaired when the tables are compared
			}
			t.receive(rec, x.leads, x.epoch, now)
		}
	case framePosition:
		for i := range x.heard {
			x.heard[i] += Version(r.varint())
		}
		if r.bad {
			return fmt.Errorf("%w: position", errProtocol)
		}
		t.known.theirs = max(t.known.theirs, x.heard[t.us.other()])
		x.answer(frameAck, le.AppendUint64(nil, uint64(t.known.theirs)))
		s.changed()
	case frameOffered:
		t.known.whole = true
		x.offered = true
		s.signal()
		s.changed()
	case frameAck:
		v := Version(r.uint64())
		if r.bad || len(x.flight) == 0 {
			return fmt.Errorf("%w: acknowledgement", errProtocol)
		}
		t.known.ours = max(t.known.ours, v)
		s.lag.add(now - x.flight[0].oldest)
		x.flight = x.flight[1:]
		s.signal()
	case frameCheck:
		records, digest := r.uvarint(), r.uint64()
		if r.bad {
			return fmt.Errorf("%w: check", errProtocol)
		}
		t.known.whole = true // all that the primary had has come
		if records == uint64(t.records) && digest == t.digest {
			t.known.ours = t.lists[t.us].end()
			s.compared(nil, now)
			x.answer(frameSame, nil)
			break
		}
		x.answer(frameDiffers, t.appendDigests(nil))
	case frameSame:
		s.compared(nil, now)
	case frameDiffers:
		differing, err := t.differing(r)
		if err != nil {
			return err
		}
		s.compared(differing, now)
		x.repairs = differing
		s.signal()
	case frameBucket:
		bucket := r.uvarint()
		if r.bad || bucket >= Buckets {
			return fmt.Errorf("%w: bucket", errProtocol)
		}
		want, offer, err := t.compareBucket(int(bucket), r)
		if err != nil {
			return err
		}
		x.wanted = append(x.wanted, offer...)
		if len(want) > 0 {
			x.answer(frameWant, want)
		}
		s.signal()
	case frameWant:
		bucket, digests := r.uvarint(), map[uint64]bool{}
		for len(r.b) > 0 && !r.bad {
			digests[r.uint64()] = true
		}
		if r.bad || bucket >= Buckets {
			return fmt.Errorf("%w: want", errProtocol)
		}
		for _, e := range t.buckets[bucket].records {
			if digests[e.digest] {
				x.wanted = append(x.wanted, e)
			}
		}
		x.checkIt = true
		s.signal()
	default:
		return fmt.Errorf("%w: frame %d", errProtocol, kind)
	}
	return nil
}

// name notes by what number the peer calls a record.
func (x *session) name(id uint32, e *entry) error {
	switch {
	case int(id) < len(x.theirs):
		x.theirs[id] = e
	case int(id) == len(x.theirs) || len(x.theirs) == 0 && id == 1:
		x.theirs = append(x.theirs, slices.Repeat([]*entry{nil}, int(id)-len(x.theirs))...)
		x.theirs = append(x.theirs, e)
	default:
		return fmt.Errorf("%w: record number %d after %d", errProtocol, id, len(x.theirs))
	}
	return nil
}

// octets counts what went over streams.
type octets struct{ in, out atomic.Uint64 }
