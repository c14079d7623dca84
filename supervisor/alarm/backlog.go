package alarm

import (
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// key is what an alarm is about: there is one active alarm of it at a time.
type key struct{ condition, object string }

func keyOf(e supervisor.AlarmEntry) key { return key{e.Condition, e.Object} }

// The bounds that keep a storm of events away from memory and log. Together they let one node commit no more than two entries a second
// for long.
const (
	backlogLimit = 400              // conditions and objects with something to commit
	repeatEvery  = 10 * time.Second // at most one entry in that time counts further detections of an active alarm
	changeBurst  = 4                // raises and ends of one alarm at once; then one in repeatEvery
	entryBurst   = 100              // entries of this node at once
	entryEvery   = 500 * time.Millisecond
)

// backlog holds what this node has seen and not yet committed, newest state wins. It is pure: time is handed in.
type backlog struct {
	waiting map[key]*waiting
	order   []*waiting // in the order in which they came
	rate    bucket
	synced  bool   // the table is complete: an end of what is not active has come to nothing
	dropped uint64 // events for which there was no room
}

// waiting is what is to be committed for one key: detections and ends in turn, at most three.
type waiting struct {
	key      key
	steps    []supervisor.AlarmEntry
	changes  bucket
	repeated time.Time // when detections were last counted
}

func newBacklog() *backlog {
	return &backlog{waiting: map[key]*waiting{}, rate: bucket{burst: entryBurst, every: entryEvery}}
}

// add takes a detection or an end; active is as for next. It reports whether there was room.
func (b *backlog) add(now time.Time, e supervisor.AlarmEntry, active uint64) bool {
	k := keyOf(e)
	w := b.waiting[k]
	if w == nil {
		if len(b.order) >= backlogLimit && !b.makeRoom(now, e.Severity) {
			b.dropped++
			return false
		}
		w = &waiting{key: k, changes: bucket{burst: changeBurst, every: repeatEvery}}
		b.waiting[k] = w
		b.order = append(b.order, w)
	}
	w.dropLate(active)
	w.add(e)
	return true
}

func (w *waiting) add(e supervisor.AlarmEntry) {
	n := len(w.steps)
	if n > 0 && (w.steps[n-1].Op == supervisor.AlarmDetect) == (e.Op == supervisor.AlarmDetect) {
		w.steps[n-1] = merged(w.steps[n-1], e)
		return
	}
	w.steps = append(w.steps, e)
	if len(w.steps) <= 3 {
		return
	}
	// It goes up and down faster than can be committed: the two in the middle cancel each other out. Of four, one of the outer
	// two is a detection; it takes over what the dropped one counted.
	first, second, third, last := w.steps[0], w.steps[1], w.steps[2], w.steps[3]
	if first.Op == supervisor.AlarmDetect {
		first = merged(first, third)
	} else {
		last = merged(second, last)
	}
	w.steps = append(w.steps[:0], first, last)
}

// merged is one entry for two of a kind: the newer one's words, both counts.
func merged(a, b supervisor.AlarmEntry) supervisor.AlarmEntry {
	if b.Op != supervisor.AlarmDetect {
		a.At = b.At
		return a
	}
	b.First, b.Count, b.Told, b.ID = a.First, min(a.Count+b.Count, 1<<30), a.Told, a.ID
	if b.At.Before(a.At) {
		b.At = a.At
	}
	return b
}

// makeRoom forgets a key that only remembers its rate, or else the newest of the least severe that wait, if that is less severe.
func (b *backlog) makeRoom(now time.Time, than supervisor.Severity) bool {
	var least *waiting
	for _, w := range b.order {
		if len(w.steps) == 0 && w.changes.full(now) && now.Sub(w.repeated) >= repeatEvery {
			b.forget(w)
			return true
		}
		if least == nil || b.rank(w) <= b.rank(least) {
			least = w
		}
	}
	if b.rank(least) >= than.Rank() {
		return false
	}
	b.dropped++
	b.forget(least)
	return true
}

func (b *backlog) forget(w *waiting) {
	delete(b.waiting, w.key)
	b.order = slices.DeleteFunc(b.order, func(o *waiting) bool { return o == w })
}

// rank is the urgency of what waits first; an end is as urgent as the worst, but only if there is certainly something to end.
func (b *backlog) rank(w *waiting) int {
	switch {
	case len(w.steps) == 0:
		return -1
	case w.steps[0].Op == supervisor.AlarmDetect:
		return w.steps[0].Severity.Rank()
	case b.synced:
		return supervisor.SeverityCritical.Rank()
	}
	return 0
}

// next takes out the most urgent entry that may be proposed now. If there is none, wake says when there may be one; zero: not before
// something changes. active gives the number of the table's active alarm of a key, 0 if there is none.
func (b *backlog) next(now time.Time, active func(key) uint64) (e supervisor.AlarmEntry, wake time.Time, ok bool) {
	var best *waiting
	repeat := false
	for _, w := range b.order {
		if len(w.steps) == 0 {
			continue
		}
		if !b.synced && w.steps[0].Op != supervisor.AlarmDetect {
			continue
		}
		w.compare(active(w.key))
		if len(w.steps) == 0 || best != nil && b.rank(w) <= b.rank(best) {
			continue
		}
		again := w.steps[0].Op == supervisor.AlarmDetect && w.steps[0].ID != 0
		at := w.changes.at(now)
		if again {
			at = w.repeated.Add(repeatEvery)
		}
		if at = latest(at, b.rate.at(now)); at.After(now) {
			wake = earliest(wake, at)
			continue
		}
		best, repeat = w, again
	}
	if best == nil {
		return e, wake, false
	}
	e = best.steps[0]
	best.steps = slices.Delete(best.steps, 0, 1)
	best.repeated = now
	if !repeat {
		best.changes.take(now)
	}
	b.rate.take(now)
	return e, time.Time{}, true
}

// compare drops what has come to nothing: the end of what is not active, and further detections of an alarm that has ended. It also
// notes of which alarm something is a further detection, so that it raises none if it is committed late.
func (w *waiting) compare(active uint64) {
	w.dropLate(active)
	for active == 0 && len(w.steps) > 0 && w.steps[0].Op != supervisor.AlarmDetect {
		w.steps = slices.Delete(w.steps, 0, 1)
	}
	if len(w.steps) > 0 && w.steps[0].Op == supervisor.AlarmDetect {
		w.steps[0].ID = active
	}
}

func (w *waiting) dropLate(active uint64) {
	if len(w.steps) > 0 && w.steps[0].Op == supervisor.AlarmDetect && w.steps[0].ID != 0 && w.steps[0].ID != active {
		w.steps = slices.Delete(w.steps, 0, 1)
	}
}

// each calls f for everything that waits, in the order in which it came. f may change the entry's Told.
func (b *backlog) each(f func(k key, e *supervisor.AlarmEntry)) {
	for _, w := range b.order {
		for i := range w.steps {
			f(w.key, &w.steps[i])
		}
	}
}

// count is how many entries wait.
func (b *backlog) count() (n int) {
	b.each(func(key, *supervisor.AlarmEntry) { n++ })
	return n
}

// bucket is a token bucket: burst tokens at once, then one in every.
type bucket struct {
	burst int
	every time.Duration
	owed  time.Time // when it will be full again
}

// at is the moment of the next token.
func (b *bucket) at(now time.Time) time.Time {
	if at := b.owed.Add(-time.Duration(b.burst-1) * b.every); at.After(now) {
		return at
	}
	return now
}

func (b *bucket) take(now time.Time)      { b.owed = latest(b.owed, now).Add(b.every) }
func (b *bucket) full(now time.Time) bool { return !b.owed.After(now) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// earliest is the sooner of two moments; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
