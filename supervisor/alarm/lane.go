package alarm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Bounds of a lane.
const (
	laneLimit  = 512 // notices that wait
	laneTries  = 4   // of a notice whose alarm has ended, where it is worth another try
	firstPause = time.Second
	maxPause   = time.Minute
)

// lane passes notices to one sender, one after the other, so that a slow one delays nobody but itself.
type lane struct {
	name   string
	sender sender
	limit  time.Duration
	tries  int  // of each notice; 0: one
	insist bool // tries on as long as the alarm is active
	log    *zap.Logger
	failed func(reaction string, n Notice, err error)
	active func(Notice) bool

	mu      sync.Mutex
	queue   []job
	busy    bool // the first of the queue is being told
	full    bool // some were dropped since it was last empty
	dropped uint64
	wake    chan struct{}
}

type job struct {
	n    Notice
	done func()
}

func (l *lane) states([]supervisor.Alarm, []supervisor.Alarm) {}

func (l *lane) tell(n Notice, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= laneLimit {
		l.dropped++
		if !l.full {
			l.log.Warn("reaction too slow, notices are dropped", zap.String("target", l.name))
		}
		l.full = true
		// What has ended is less worth than what has not.
		i := slices.IndexFunc(l.queue, func(j job) bool { return !l.active(j.n) })
		if i == 0 && l.busy {
			i = 1 + slices.IndexFunc(l.queue[1:], func(j job) bool { return !l.active(j.n) })
		}
		if i < 0 || i == 0 && l.busy {
			done()
			return
		}
		l.queue[i].done()
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	l.queue = append(l.queue, job{n: n, done: done})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) head() (job, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		l.queue = slices.Delete(l.queue, 0, 1)
	}
	l.busy = len(l.queue) > 0
	if !l.busy {
		l.full = false
		return job{}, false
	}
	return l.queue[0], true
}

func (l *lane) run(ctx context.Context) {
	for {
		j, ok := l.head()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
			continue
		}
		if !l.work(ctx, j) {
			return
		}
	}
}

// work tells one notice. It gives false when ctx has ended; a try that was cut short by that does not count as done.
func (l *lane) work(ctx context.Context, j job) bool {
	done := sync.OnceFunc(j.done)
	for attempt := 1; ; attempt++ {
		err := l.try(ctx, j.n)
		if ctx.Err() != nil {
			return false
		}
		fields := []zap.Field{zap.String("target", l.name), zap.String("why", j.n.Why), zap.Int("attempt", attempt)}
		if err == nil {
			l.log.Debug("reaction ran", fields...)
			done()
			return true
		}
		done() // the role may move on: whoever is primary then need not tell it as well
		last := errors.Is(err, errPermanent) || attempt >= max(1, l.tries) && !l.insist || l.insist && attempt >= laneTries && !l.active(j.n)
		switch {
		case last:
			l.log.Warn("reaction failed", append(fields, zap.Error(err))...)
		case attempt == 1:
			l.log.Warn("reaction failed, it is tried again", append(fields, zap.Error(err))...)
		default:
			l.log.Debug("reaction failed again", append(fields, zap.Error(err))...)
		}
		if l.failed != nil && (last || attempt == 1) {
			l.failed(l.name, j.n, err)
		}
		if last {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause(attempt)):
		}
	}
}

func (l *lane) try(ctx context.Context, n Notice) error {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	return l.sender.send(ctx, n)
}

// pause doubles from try to try, up to maxPause.
func pause(attempt int) time.Duration {
	return min(maxPause, firstPause<<min(attempt-1, 10))
}
