package bindings

import (
	"cmp"
	"slices"
)

// list holds entries in the order of their versions. One reader at a time follows it: next is what it has not seen yet.
type list struct {
	first, last *entry
	next        *entry
	finger      *entry // what was inserted last
}

// insert puts an entry in its place. That is the end, but for those that a peer gives back.
func (l *list) insert(e *entry, seen bool) {
	before := l.last
	if f := l.finger; f != nil && f.version < e.version && (f.next == nil || f.next.version > e.version) {
		before = f
	}
	for before != nil && before.version > e.version {
		before = before.prev
	}
	e.prev = before
	if before != nil {
		e.next, before.next = before.next, e
	} else {
		e.next, l.first = l.first, e
	}
	if e.next != nil {
		e.next.prev = e
	} else {
		l.last = e
		if l.next == nil && !seen {
			l.next = e
		}
	}
	l.finger = e
}

// sort puts entries in their places that were appended in any order.
func (l *list) sort() {
	var all []*entry
	for e := l.first; e != nil; e = e.next {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.version, b.version) })
	*l = list{}
	for _, e := range all {
		l.append(e)
	}
}

// append puts an entry at the end, whatever its version: see sort.
func (l *list) append(e *entry) {
	e.prev, e.next = l.last, nil
	if l.last != nil {
		l.last.next = e
	} else {
		l.first = e
	}
	l.last, l.finger = e, e
}

func (l *list) remove(e *entry) {
	if l.next == e {
		l.next = e.next
	}
	if l.finger == e {
		l.finger = e.prev
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	e.prev, e.next = nil, nil
}

// follow makes the reader begin after a version. It is found from the end: those who were away briefly miss little.
func (l *list) follow(v Version) {
	l.next = nil
	for e := l.last; e != nil && e.version > v; e = e.prev {
		l.next = e
	}
}

// take gives what the reader sees next, or nil.
func (l *list) take() *entry {
	e := l.next
	if e != nil {
		l.next = e.next
	}
	return e
}

// end is the latest version in the list.
func (l *list) end() Version {
	if l.last == nil {
		return 0
	}
	return l.last.version
}
