package bindings

// knowledge is what two members know of each other's changes.
type knowledge struct {
	us     Author
	ours   Version // of our changes, they have all up to this
	theirs Version // of their changes, we have all up to this
	// theirOwn is up to where they have all their own changes: what they made later they may have lost, and made others without knowing of it.
	theirOwn Version
	// whole says that we have all our own changes. Else those after lostAfter and before since, the first that we made since then, may be
	// lost: they were not on disk yet, or the disk is gone. The peer may have them.
	whole            bool
	lostAfter, since Version
}

// theyKnow reports whether they had seen a change of ours or theirs.
func (k knowledge) theyKnow(v Version) bool {
	if v.Author() == k.us {
		return v <= k.ours
	}
	return v <= k.theirOwn
}

// weKnow reports whether we had.
func (k knowledge) weKnow(v Version) bool {
	if v.Author() == k.us {
		return k.whole || v <= k.lostAfter || k.since != 0 && v >= k.since
	}
	return v <= k.theirs
}

// merge joins two states of one address of record that were made without knowing of each other. A binding that one side alone has was added
// there or removed on the other: what each knows of the other's changes tells, and what each has removed: gone is what we have. Of a binding that both have the newer one stays: the
// higher CSeq within one Call-ID, else the later change.
func (k knowledge) merge(ours, theirs Record, gone []Binding) []Binding {
	var joined []Binding
	for i := range ours.Bindings {
		b := &ours.Bindings[i]
		t := theirs.find(b.Key())
		switch {
		case t == nil && (k.theyKnow(b.Changed) && b.Changed < theirs.Version || covers(theirs.Gone, b)):
			continue // they removed it
		case t != nil && (b.Older(&t.Binding) || !t.Older(&b.Binding) && b.Changed < t.Changed):
			joined = append(joined, *t)
		default:
			joined = append(joined, *b)
		}
	}
	for i := range theirs.Bindings {
		t := &theirs.Bindings[i]
		if ours.find(t.Key()) == nil && !k.weKnow(t.Changed) && !covers(gone, t) {
			joined = append(joined, *t)
		}
	}
	return joined
}
