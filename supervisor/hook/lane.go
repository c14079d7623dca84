package hook

import (
	"bytes"
	"context"
	"sync"

	"go.uber.org/zap"
)

// task is one hook to run.
type task struct {
	name string
	argv []string
	ev   Event
}

// Run runs hooks until ctx ends. Then a hook that runs is ended as at its limit, and what waits is forgotten: who wants the last
// role's hook to run calls Drain first.
func (q *Queue) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { q.lane(ctx, q.roleCall, q.nextRole) })
	wg.Go(func() { q.lane(ctx, q.notifyCall, q.nextNotify) })
	wg.Wait()
	return ctx.Err()
}

func (q *Queue) lane(ctx context.Context, called <-chan struct{}, next func() (task, bool)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-called:
		}
		for ctx.Err() == nil {
			t, ok := next()
			if !ok {
				break
			}
			q.run(ctx, t)
			q.mu.Lock()
			q.busy--
			q.idle.Broadcast()
			q.mu.Unlock()
		}
	}
}

func (q *Queue) nextRole() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.role == nil {
		return task{}, false
	}
	t := task{name: q.roleHook(q.role.Role), argv: q.o.OnBackup, ev: *q.role}
	if t.name == "on-primary" {
		t.argv = q.o.OnPrimary
	}
	q.role = nil
	q.busy++
	return t, true
}

func (q *Queue) nextNotify() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.notify) == 0 {
		q.slow = false
		return task{}, false
	}
	t := task{name: "notify", argv: q.o.Notify, ev: q.notify[0]}
	q.notify = q.notify[1:]
	q.busy++
	return t, true
}

func (q *Queue) run(ctx context.Context, t task) {
	c, err := t.ev.command(t.argv, q.o.Limit)
	r := Result{ExitCode: -1, Err: err}
	if err == nil {
		r = Run(ctx, c)
	}
	fields := []zap.Field{zap.String("target", t.name), zap.Duration("took", r.Duration), zap.Int("code", r.ExitCode)}
	if r.Err == nil {
		q.o.Logger.Debug("hook ran", fields...)
	} else {
		q.o.Logger.Warn("hook did not succeed", append(fields, zap.String("why", firstLine(r.Output)), zap.NamedError("err", r.Err))...)
	}
	if q.o.Done != nil {
		q.o.Done(t.name, t.ev, r)
	}
}

// firstLine is what a log line has room for.
func firstLine(b []byte) string {
	const most = 200
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line[:min(len(line), most)])
}
