package location

// Union is what either of two views of one address of record has; of a binding that both have it is the newer state of its registration, or that
// of the first.
func Union(a, b []Binding) []Binding {
	all := append([]Binding(nil), a...)
	at := map[string]int{}
	for i := range all {
		at[all[i].Key()] = i
	}
	for i := range b {
		k, both := at[b[i].Key()]
		switch {
		case !both:
			all = append(all, b[i])
		case all[k].Older(&b[i]):
			all[k] = b[i]
		}
	}
	return all
}

// SameSet reports whether two views of one address of record say the same. What the server adds by itself (socket, flags) is not looked at.
func SameSet(a, b []Binding) bool {
	if len(a) != len(b) {
		return false
	}
	have := map[string]Binding{}
	for _, x := range a {
		have[x.Key()] = x
	}
	for i := range b {
		x, ok := have[b[i].Key()]
		if !ok || x.Contact != b[i].Contact || x.CallID != b[i].CallID || x.CSeq != b[i].CSeq || (x.Expires-b[i].Expires).Abs() > 2*rounding {
			return false
		}
	}
	return true
}
