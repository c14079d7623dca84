package bindings

import (
	"cmp"
	"slices"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// removals remembers bindings that were removed here while the peer does not know it yet: what it has of them, and we have never seen, must not
// come back when the tables are joined.
type removals struct {
	of    map[string][]Binding // by address of record: the last state, with the version of the removal
	order []removal
}

type removal struct {
	aor     string
	changed Version
}

// maxRemovals bounds what is remembered while the peer is away. Beyond it the oldest are forgotten: at worst a phone that left rings until its
// binding ends.
const maxRemovals = 100_000

// maxGoneOf is how many are remembered of one address of record: a phone may change its Contact as often as it likes.
const maxGoneOf = 32

// bare is what has to be remembered of a binding that is gone: who it was, and when.
func bare(b Binding) Binding {
	var left Binding
	left.Changed, left.Contact, left.Instance, left.RegID, left.CallID, left.CSeq = b.Changed, b.Contact, b.Instance, b.RegID, b.CallID, b.CSeq
	left.Methods = location.AllMethods
	return left
}

// note remembers what an address of record has lost from one state to the next.
func (m *removals) note(old, now *Record, by Cause) {
	for _, b := range old.Bindings {
		if now.find(b.Key()) != nil {
			continue
		}
		b.Changed = now.Version
		if by.CallID == b.CallID {
			b.CSeq = max(b.CSeq, by.CSeq)
		}
		m.add(now.AOR, bare(b))
	}
}

func (m *removals) add(aor string, b Binding) {
	if m.of == nil {
		m.of = map[string][]Binding{}
	}
	gone := append(slices.DeleteFunc(m.of[aor], func(g Binding) bool { return g.Key() == b.Key() }), b)
	size := 0
	for i := range slices.Backward(gone) {
		if size += sizeOf(&gone[i].Binding); size > MaxRecord || len(gone)-i > maxGoneOf {
			gone = gone[i+1:]
			break
		}
	}
	m.of[aor] = gone
	m.order = append(m.order, removal{aor, b.Changed})
	if len(m.order) > maxRemovals {
		m.forget(m.order[0].changed)
	}
}

// restore remembers what the disk says, in whatever order.
func (m *removals) restore(r Record) {
	for _, b := range r.Gone {
		m.add(r.AOR, b)
	}
}

// sort is to be called after restore.
func (m *removals) sort() {
	slices.SortFunc(m.order, func(a, b removal) int { return cmp.Compare(a.changed, b.changed) })
}

// forget forgets what was removed up to a version.
func (m *removals) forget(upTo Version) {
	for len(m.order) > 0 && m.order[0].changed <= upTo {
		aor := m.order[0].aor
		m.order = m.order[1:]
		left := m.of[aor][:0]
		for _, b := range m.of[aor] {
			if b.Changed > upTo {
				left = append(left, b)
			}
		}
		if len(left) == 0 {
			delete(m.of, aor)
		} else {
			m.of[aor] = left
		}
	}
	if len(m.order) == 0 {
		*m = removals{}
	}
}

// covers reports whether a binding was removed after it was made, as what was removed tells.
func covers(gone []Binding, b *Binding) bool {
	g := find(gone, b.Key())
	return g != nil && (g.CallID == b.CallID && g.CSeq >= b.CSeq || g.CallID != b.CallID && g.Changed > b.Changed)
}
