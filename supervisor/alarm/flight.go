package alarm

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// flight is the one entry that is being proposed. One at a time, and the next only when this one's outcome is known: then numbers
// keep an entry from being applied twice, and an end never overtakes its detection.
type flight struct {
	entry  supervisor.AlarmEntry
	tries  int
	out    bool      // the proposer has it
	unsure bool      // a try of it may have been committed
	again  time.Time // when to propose it again
	done   bool      // committed; the table that shows it is still to come
	order  *order    // who waits for it; nil: nobody
}

// stuck reports whether nothing could be committed for so long that this node reacts by itself.
func (e *Engine) stuck(now time.Time) bool {
	return e.flight != nil && !e.asking.IsZero() && now.Sub(e.asking) >= e.o.Patience
}

// How often and how long.
const (
	proposeAgain = 100 * time.Millisecond // doubles up to proposePause
	proposePause = 5 * time.Second
	proposeLost  = 30 * time.Second // a proposer that never answers
	tableLate    = 2 * time.Second  // for the table to show what was committed
)

// launch gives the entry to propose now, nil if there is none, and when to look again.
func (e *Engine) launch(now time.Time) (*flight, time.Time) {
	for {
		f := e.flight
		if f == nil {
			var wake time.Time
			if f, wake = e.nextFlight(now); f == nil {
				return nil, wake
			}
			e.flight = f
		}
		if f.order != nil && f.order.ctx.Err() != nil {
			e.end(f.order.ctx.Err())
			continue
		}
		if last := e.table.Source(e.o.Self); last.Run == f.entry.Run && last.Seq >= f.entry.Seq {
			e.asking = time.Time{}
			e.end(nil) // whatever the proposer says, it was committed
			continue
		}
		switch {
		case f.done || f.out:
			if now.Before(f.again) {
				return nil, f.again
			}
			if f.done { // the table is late or was never told; what is newer wins
				e.end(nil)
				continue
			}
			f.out, f.unsure = false, true
		case now.Before(f.again):
			return nil, f.again
		}
		if _, err := e.table.Apply(f.entry); err != nil && !errors.Is(err, supervisor.ErrAlarmRepeated) {
			e.end(err) // it would come to nothing: spare the log
			continue
		}
		if e.asking.IsZero() {
			e.asking = now
		}
		f.tries++
		f.out, f.again = true, now.Add(proposeLost)
		return f, f.again
	}
}

func (e *Engine) nextFlight(now time.Time) (*flight, time.Time) {
	f := &flight{}
	var wake time.Time
	switch {
	case len(e.orders) > 0:
		f.order = e.orders[0]
		f.entry = f.order.entry
		e.orders = e.orders[1:]
	default:
		var ok bool
		if f.entry, ok = e.duties.next(&e.table, e.o.Self, now); ok {
			break
		}
		if f.entry, ok = e.timers.due(&e.table, e.o.Self, now); ok {
			break
		}
		if f.entry, wake, ok = e.backlog.next(now, e.activeID); !ok {
			return nil, wake
		}
	}
	if last := e.table.Source(e.o.Self); last.Run > e.run { // this host's clock was ahead once
		e.run, e.seq = last.Run+1, 0
	}
	e.seq++
	f.entry.Node, f.entry.Run, f.entry.Seq = e.o.Self, e.run, e.seq
	return f, time.Time{}
}

// landed hears how a try ended.
func (e *Engine) landed(f *flight, try int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight != f || f.tries != try || !f.out {
		return // it was given up meanwhile
	}
	defer e.call()
	now := time.Now()
	f.out = false
	if err == nil || definite(err) {
		e.asking = time.Time{}
	}
	switch {
	case err == nil:
		f.done, f.again = true, now.Add(tableLate)
	case errors.Is(err, supervisor.ErrAlarmRepeated) && !f.unsure && f.tries < 8 && e.run < 1<<62:
		// It was certainly not committed, yet it is refused: an earlier run of this node, with a clock that was ahead, numbered higher.
		e.run, e.seq = 2*e.run, 1
		f.entry.Run, f.entry.Seq = e.run, e.seq
		f.again = now.Add(proposeAgain)
	case definite(err):
		e.end(err)
	default:
		f.unsure = true
		f.again = now.Add(min(proposePause, proposeAgain<<min(f.tries-1, 10)))
	}
}

// activeID is the number of the active alarm of k; 0: there is none.
func (e *Engine) activeID(k key) uint64 {
	a, _ := e.table.Find(k.condition, k.object)
	return a.ID
}

// definite errors are the table's own: trying again would change nothing.
func definite(err error) bool {
	return errors.Is(err, supervisor.ErrAlarmRepeated) || errors.Is(err, supervisor.ErrNoAlarm) ||
		errors.Is(err, supervisor.ErrAlarmsFull) || errors.Is(err, supervisor.ErrAlarmEntry)
}

// end ends the flight.
func (e *Engine) end(err error) {
	f := e.flight
	e.flight = nil
	if errors.Is(err, supervisor.ErrAlarmRepeated) {
		err = nil
	}
	if f.order != nil {
		f.order.done <- err
		return
	}
	if errors.Is(err, supervisor.ErrAlarmsFull) || errors.Is(err, supervisor.ErrAlarmEntry) {
		e.backlog.dropped++
		e.o.Logger.Warn("an alarm was not taken up", zap.String("target", f.entry.Condition), zap.String("why", f.entry.Text), zap.Error(err))
	}
}
