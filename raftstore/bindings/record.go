package bindings

import (
	"cmp"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// Binding is a binding and when it changed last.
type Binding struct {
	location.Binding
	Changed Version
}

// Record is an address of record with all its bindings. Without any it is gone: what is left says when.
type Record struct {
	AOR      string
	Version  Version
	Bindings []Binding
	Gone     []Binding // were removed by the author, and the peer may not know: only in what a backup tells the primary
}

// Plain is the bindings alone.
func (r Record) Plain() []location.Binding {
	plain := make([]location.Binding, len(r.Bindings))
	for i, b := range r.Bindings {
		plain[i] = b.Binding
	}
	return plain
}

// find gives the binding with a key, or nil.
func (r *Record) find(key string) *Binding { return find(r.Bindings, key) }

func find(all []Binding, key string) *Binding {
	for i := range all {
		if all[i].Key() == key {
			return &all[i]
		}
	}
	return nil
}

// next is the state after r that has the bindings now, made as version v; ok is false if that says nothing new. Bindings that did not
// change keep their versions.
func (r Record) next(now []location.Binding, v Version) (n Record, ok bool) {
	n = Record{AOR: r.AOR, Version: v}
	ok = len(now) != len(r.Bindings)
	for _, b := range now {
		old := r.find(b.Key())
		if old != nil && old.Same(&b) {
			n.Bindings = append(n.Bindings, *old)
			continue
		}
		n.Bindings, ok = append(n.Bindings, Binding{Binding: b, Changed: v}), true
	}
	n.order()
	return n, ok
}

// without is r without the bindings that have expired at a moment.
func (r Record) without(expired time.Duration) []location.Binding {
	var left []location.Binding
	for _, b := range r.Bindings {
		if b.Expires > expired {
			left = append(left, b.Binding)
		}
	}
	return left
}

// limit leaves no more bindings, and no longer ones, than there may be: those that changed last.
func (r *Record) limit() {
	slices.SortFunc(r.Bindings, func(a, b Binding) int { return cmp.Compare(b.Changed, a.Changed) })
	size := 0
	for i := range r.Bindings {
		if size += sizeOf(&r.Bindings[i].Binding); i == MaxBindings || size > MaxRecord {
			r.Bindings = r.Bindings[:i]
			return
		}
	}
}

// order sorts the bindings, so that equal states look equal whoever made them.
func (r *Record) order() {
	slices.SortFunc(r.Bindings, func(a, b Binding) int { return cmp.Compare(a.Key(), b.Key()) })
}

// refreshes reports whether r differs from an earlier state in nothing but what refreshes change.
func (r *Record) refreshes(old *Record) bool {
	if len(r.Bindings) == 0 || len(r.Bindings) != len(old.Bindings) {
		return false
	}
	for i := range r.Bindings {
		if !r.Bindings[i].SameShape(&old.Bindings[i].Binding) {
			return false
		}
	}
	return true
}
