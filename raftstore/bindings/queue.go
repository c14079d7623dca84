package bindings

// mark is one of the queues that an entry can be in.
type mark uint8

const (
	unsaved mark = 1 << iota // for the disk
	untaken                  // for the server, see Store.Take
	timed                    // in the wheel
)

// queue holds entries that have changed, each once.
type queue struct {
	mark    mark
	waiting []*entry
}

func (q *queue) add(e *entry) {
	if e.marks&q.mark == 0 {
		e.marks |= q.mark
		q.waiting = append(q.waiting, e)
	}
}

// take takes out entries, the oldest first, at most limit of them.
func (q *queue) take(limit int) []*entry {
	n := min(limit, len(q.waiting))
	taken := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	for _, e := range taken {
		e.marks &^= q.mark
	}
	return taken
}
