package bindings

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
)

// Buckets is into how many parts a table is divided to compare it: what differs is found and repaired by bucket.
const Buckets = 1024

// table holds the records of one member. It is data: no I/O, no clock, one goroutine at a time. Moments are on the caller's clock.
type table struct {
	us      Author
	buckets [Buckets]bucket
	lists   [2]list // of the records, by author; in each the oldest version first
	wheel   wheel
	filling bool   // from a file, in no order: the lists are sorted afterwards
	count   uint64 // of our own changes
	known   knowledge
	removed removals

	records  int      // that have bindings
	bindings [2]int   // by the author of their last change: the member at which the phone registered
	flows    int      // bindings that live as long as a connection
	gone     int      // that have none any more
	digest   uint64   // of all that have bindings
	saving   queue    // changed, and not on disk
	taking   queue    // changed, and the server does not know
	graves   []*entry // have no bindings, in the order in which they lost them; some may have got new ones
}

// bucket is a part of a table.
type bucket struct {
	records map[string]*entry
	digest  uint64 // of the records that have bindings, in no order
}

// entry is one record, encoded: a million of them must not be a million of small objects each.
type entry struct {
	aor        string
	blob       []byte // the bindings
	version    Version
	shape      Version // when something changed last that a refresh does not change
	digest     uint64
	prev, next *entry    // in the list of its author
	size       uint16    // bindings
	by         [2]uint16 // of these, by author
	flows      uint16    // of these, that live as long as a connection
	marks      mark      // what it waits for

	// What the peer has, if the session is that of now.
	session uint32
	id      uint32
	sent    Version
}

func newTable(us Author) *table {
	t := &table{us: us, known: knowledge{us: us}, wheel: newWheel(),
		saving: queue{mark: unsaved}, taking: queue{mark: untaken}}
	for i := range t.buckets {
		t.buckets[i].records = map[string]*entry{}
	}
	return t
}

// bucketOf is where an address of record belongs.
func bucketOf(aor string) int { return int(xxhash.Sum64String(aor) % Buckets) }

func (t *table) entry(aor string) *entry { return t.buckets[bucketOf(aor)].records[aor] }

// record decodes what an entry holds.
func (e *entry) record() Record {
	r := reader{b: e.blob}
	return Record{AOR: e.aor, Version: e.version, Bindings: r.bindings()}
}

// get is the record of an address of record; without bindings if there is none, and with version 0 if there never was.
func (t *table) get(aor string) Record {
	if e := t.entry(aor); e != nil {
		return e.record()
	}
	return Record{AOR: aor}
}

// put makes a record the state of its address of record. Seen says that the peer has it: it sent it.
func (t *table) put(r Record, seen bool, now time.Duration) {
	b := &t.buckets[bucketOf(r.AOR)]
	e := b.records[r.AOR]
	if e == nil {
		e = &entry{aor: r.AOR, shape: r.Version}
		b.records[r.AOR] = e
	} else {
		old := e.record()
		if !r.refreshes(&old) {
			e.shape = r.Version
		}
		t.uncount(b, e)
		t.lists[e.version.Author()].remove(e)
	}
	e.version = r.Version
	e.measure(&r)
	e.blob, e.digest = encode(&r)
	if e.size == 0 {
		e.blob = nil
		t.graves = append(t.graves, e)
	}
	if l := &t.lists[e.version.Author()]; t.filling {
		l.append(e)
	} else {
		l.insert(e, seen)
	}
	t.tally(b, e)
	t.time(e, &r, now)
	t.saving.add(e)
}

// measure counts the bindings of an entry.
func (e *entry) measure(r *Record) {
	e.size, e.by, e.flows = uint16(len(r.Bindings)), [2]uint16{}, 0 //nolint:gosec // at most MaxBindings
	for i := range r.Bindings {
		b := &r.Bindings[i]
		e.by[b.Changed.Author()]++
		if b.Connected() {
			e.flows++
		}
	}
}

// tally counts an entry, uncount takes it back.
func (t *table) tally(b *bucket, e *entry) {
	if e.size == 0 {
		t.gone++
		return
	}
	t.records++
	t.flows += int(e.flows)
	for i := range e.by {
		t.bindings[i] += int(e.by[i])
	}
	b.digest ^= e.digest
	t.digest ^= e.digest
}

func (t *table) uncount(b *bucket, e *entry) {
	if e.size == 0 {
		t.gone--
		return
	}
	t.records--
	t.flows -= int(e.flows)
	for i := range e.by {
		t.bindings[i] -= int(e.by[i])
	}
	b.digest ^= e.digest
	t.digest ^= e.digest
}

// time makes sure that the wheel comes by when the first binding expires.
func (t *table) time(e *entry, r *Record, now time.Duration) {
	if e.marks&timed != 0 || len(r.Bindings) == 0 {
		return
	}
	e.marks |= timed
	t.wheel.add(e, max(firstExpiry(r), now))
}

func firstExpiry(r *Record) time.Duration {
	first := r.Bindings[0].Expires
	for _, b := range r.Bindings[1:] {
		first = min(first, b.Expires)
	}
	return first
}

// drop forgets an entry, even that it was there.
func (t *table) drop(e *entry) {
	b := &t.buckets[bucketOf(e.aor)]
	t.uncount(b, e)
	t.lists[e.version.Author()].remove(e)
	delete(b.records, e.aor)
}

// nextVersion is what version makes next.
func (t *table) nextVersion(epoch supervisor.Epoch) Version { return versionOf(epoch, t.count+1, t.us) }

// version makes the next version of our own.
func (t *table) version(epoch supervisor.Epoch) Version {
	v := t.nextVersion(epoch)
	t.count++
	if t.known.since == 0 {
		t.known.since = v
	}
	return v
}

// set makes bindings the state of an address of record: what the primary's server has now. It reports whether that is new.
func (t *table) set(epoch supervisor.Epoch, aor string, bindings []location.Binding, by Cause, now time.Duration) bool {
	old := t.get(aor)
	r, changed := old.next(bindings, t.nextVersion(epoch))
	if !changed {
		return false
	}
	t.version(epoch)
	t.removed.note(&old, &r, by)
	t.put(r, false, now)
	return true
}

// expire removes what has expired, as changes of our own. It looks at no more than limit records, and reports whether there are more.
func (t *table) expire(epoch supervisor.Epoch, now time.Duration, limit int) (more bool) {
	for ; limit > 0; limit-- {
		e := t.wheel.next(now)
		if e == nil {
			return false
		}
		e.marks &^= timed
		if t.entry(e.aor) != e || e.size == 0 {
			continue
		}
		r := e.record()
		if left := r.without(now); len(left) < len(r.Bindings) {
			t.set(epoch, e.aor, left, Cause{}, now)
			continue
		}
		t.time(e, &r, now)
	}
	return true
}

// wait takes entries out of the wheel whose time has come, at a backup: it is the primary that says what has expired. What is still there
// then comes back a while later.
func (t *table) wait(now time.Duration, limit int) (more bool) {
	for ; limit > 0; limit-- {
		e := t.wheel.next(now)
		if e == nil {
			return false
		}
		e.marks &^= timed
		if t.entry(e.aor) == e && e.size > 0 {
			r := e.record()
			e.marks |= timed
			t.wheel.add(e, max(firstExpiry(&r), now+waitMore))
		}
	}
	return true
}

// waitMore is when a backup looks again at what has expired.
const waitMore = 10 * time.Second

// receive takes a record that the peer sent. A backup takes what is newer: the primary made it knowing what the backup had. The primary joins
// it with what it knows itself, and says so as a change of its own.
func (t *table) receive(r Record, primary bool, epoch supervisor.Epoch, now time.Duration) {
	ours := t.get(r.AOR)
	defer func() {
		if e := t.entry(r.AOR); e != nil && e.version != ours.Version {
			t.taking.add(e)
		}
	}()
	switch {
	case r.Version == ours.Version:
	case !primary:
		if ours.Version < r.Version {
			t.put(r, true, now)
		}
	case ours.Version == 0 && t.known.weKnow(r.Version):
		t.put(Record{AOR: r.AOR, Version: t.version(epoch)}, false, now) // it was removed here so long ago that this is forgotten
	case ours.Version == 0 || ours.Version < r.Version && ours.Version.Author() != t.us && t.known.theyKnow(ours.Version):
		t.put(r, true, now) // made knowing ours
	case t.known.weKnow(r.Version) && r.Version < ours.Version:
	default:
		joined := Record{AOR: r.AOR, Version: t.version(epoch), Bindings: t.known.merge(ours, r, t.removed.of[r.AOR])}
		joined.limit()
		joined.order()
		t.put(joined, false, now)
	}
}

// bury forgets records without bindings that nobody needs to know of any more: the peer does, or has made them. If it has been away for
// too long, it is told the rest when the tables are compared. It looks at no more than limit of them.
func (t *table) bury(limit int) {
	t.removed.forget(t.known.ours)
	most := maxGone + t.records/4
	for ; limit > 0 && len(t.graves) > 0; limit-- {
		e := t.graves[0]
		stays := e.size == 0 && (e.marks&(unsaved|untaken) != 0 || t.entry(e.aor) == e && !t.known.theyKnow(e.version))
		if stays && t.gone <= most {
			return
		}
		t.graves[0], t.graves = nil, t.graves[1:]
		if e.size == 0 && t.entry(e.aor) == e {
			t.drop(e)
		}
	}
}

// maxGone is how many removed addresses of record are remembered at least while the peer is away.
const maxGone = 10_000

// overtake makes sure that all our versions are later than the last that the peer has from us: a member that lost its table begins anew,
// and counts from the start. What it has made until then is made again.
func (t *table) overtake(last Version, now time.Duration) {
	t.count = max(t.count, last.count())
	if t.known.whole || t.known.since == 0 || t.known.since > last {
		return
	}
	since := t.known.since
	t.known.since = 0
	var mine []*entry
	for e := t.lists[t.us].last; e != nil && e.version >= since; e = e.prev {
		mine = append(mine, e)
	}
	for _, e := range slices.Backward(mine) {
		r := e.record()
		r.Version = t.version(max(r.Version.Epoch(), last.Epoch()))
		for i := range r.Bindings {
			if b := &r.Bindings[i]; b.Changed >= since && b.Changed.Author() == t.us {
				b.Changed = r.Version
			}
		}
		t.put(r, false, now)
	}
}

// haveOurs is up to where we have all our own changes.
func (t *table) haveOurs() Version {
	if t.known.whole {
		return ^Version(0)
	}
	return t.known.lostAfter
}
