package bindings

import "time"

// wheel brings entries back when their time comes, by the second. An entry is in it once, and not moved when its time moves on: whoever
// gets it back too early adds it again.
type wheel struct {
	slots map[time.Duration][]*entry // by the second
	at    time.Duration              // the second that comes next; nothing is in an earlier one
	any   bool
}

func newWheel() wheel { return wheel{slots: map[time.Duration][]*entry{}} }

func (w *wheel) add(e *entry, at time.Duration) {
	at = at.Truncate(second) + second
	if !w.any || at < w.at {
		w.at, w.any = at, true
	}
	w.slots[at] = append(w.slots[at], e)
}

// next takes out an entry whose time has come, or nil.
func (w *wheel) next(now time.Duration) *entry {
	if len(w.slots) == 0 {
		w.any = false
		return nil
	}
	for ; w.at <= now; w.at += second {
		slot := w.slots[w.at]
		if n := len(slot); n > 0 {
			e := slot[n-1]
			slot[n-1] = nil
			w.slots[w.at] = slot[:n-1]
			return e
		}
		delete(w.slots, w.at)
	}
	return nil
}
