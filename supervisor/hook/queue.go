package hook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// NotifyLimit is how many events may wait for the notify hook. One more is dropped, and counted.
const NotifyLimit = 1000

// Options say which programs run when. An empty argv means none.
type Options struct {
	OnPrimary []string
	OnBackup  []string
	Notify    []string
	Limit     time.Duration                         // of each run; 0: DefaultLimit
	Done      func(hook string, ev Event, r Result) // optional; hook is "on-primary", "on-backup" or "notify"
	Logger    *zap.Logger
}

// Queue runs role hooks and notify hooks, each kind one at a time, without ever making its callers wait. The two kinds do not wait
// for each other.
type Queue struct {
	o Options

	mu      sync.Mutex
	role    *Event // the newest role that no hook was started for
	notify  []Event
	dropped uint64
	slow    bool // events were dropped since notify was last empty
	busy    int  // lanes that run a hook

	roleCall   chan struct{}
	notifyCall chan struct{}
	idle       *sync.Cond
}

// New checks the programs. It starts nothing.
func New(o Options) (*Queue, error) {
	if o.Logger == nil {
		return nil, errors.New("hook: no logger")
	}
	o.Logger = o.Logger.Named("hook")
	var errs []error
	for _, h := range []struct {
		name string
		argv []string
	}{{"on-primary", o.OnPrimary}, {"on-backup", o.OnBackup}, {"notify", o.Notify}} {
		if len(h.argv) == 0 {
			continue
		}
		if err := Check(h.argv[0]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.name, err))
		}
	}
	q := &Queue{o: o, roleCall: make(chan struct{}, 1), notifyCall: make(chan struct{}, 1)}
	q.idle = sync.NewCond(&q.mu)
	return q, errors.Join(errs...)
}

// Role says what this node's role is now. A role that still waits for its hook is forgotten: only the newest matters.
func (q *Queue) Role(ev Event) {
	q.mu.Lock()
	q.role = &ev
	if q.roleHook(ev.Role) == "" {
		q.role = nil
		q.idle.Broadcast()
	}
	q.mu.Unlock()
	call(q.roleCall)
}

// Notify passes an event to the notify hook, after those that came before it.
func (q *Queue) Notify(ev Event) {
	if len(q.o.Notify) == 0 {
		return
	}
	q.mu.Lock()
	full := len(q.notify) >= NotifyLimit
	if full {
		q.dropped++
	} else {
		q.notify = append(q.notify, ev)
	}
	first := full && !q.slow
	q.slow = q.slow || full
	q.mu.Unlock()
	if first {
		q.o.Logger.Warn("notify hook too slow, events are dropped", zap.Strings("target", q.o.Notify))
	}
	call(q.notifyCall)
}

// Dropped is how many events the notify hook never saw.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

func call(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Drain waits until nothing waits or runs any more, or until ctx ends.
func (q *Queue) Drain(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.idle.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.role != nil || len(q.notify) > 0 || q.busy > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("hooks are still running: %w", err)
		}
		q.idle.Wait()
	}
	return nil
}

func (q *Queue) roleHook(r supervisor.Role) string {
	switch {
	case r == supervisor.RolePrimary && len(q.o.OnPrimary) > 0:
		return "on-primary"
	case r == supervisor.RoleBackup && len(q.o.OnBackup) > 0:
		return "on-backup"
	}
	return ""
}
