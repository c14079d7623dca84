package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
)

// alarmLog commits what the alarm engine proposes. The engine has one proposal under way at a time and proposes again what failed.
type alarmLog struct {
	store *raftstore.Store
	limit time.Duration
	tasks sync.WaitGroup
}

var _ alarm.Proposer = (*alarmLog)(nil)

func (l *alarmLog) Propose(e supervisor.AlarmEntry, done func(error)) {
	l.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), l.limit)
		defer cancel()
		done(l.store.Propose(ctx, supervisor.Entry{Alarm: &e}))
	})
}

// newAlarms makes the engine. Its own failures to tell somebody are only logged: an alarm about them would fail as well.
func newAlarms(s *Setup, to alarm.Proposer, log *zap.Logger) (*alarm.Engine, error) {
	o := s.alarmOptions(s.Self)
	o.Proposer, o.Logger = to, log
	o.Failed = func(reaction string, n alarm.Notice, err error) {
		log.Warn("reaction failed", zap.String("target", reaction), zap.Error(err))
	}
	engine, err := alarm.New(o)
	if err != nil {
		return nil, fmt.Errorf("alarms: %w", err)
	}
	return engine, nil
}

// edges posts an event when a condition begins and another when it ends, once each. What held before this process started is unknown,
// so that the first word on a condition is always passed on: alarms of an earlier run end with it.
type edges struct {
	post func(alarm.Event)

	mu   sync.Mutex
	said map[string]bool
}

func newEdges(post func(alarm.Event)) *edges { return &edges{post: post, said: map[string]bool{}} }

// level says whether a condition holds for an object. begins and ends are the names of the events.
func (e *edges) level(holds bool, begins, ends, object, text, evidence string) {
	key := begins + "\x00" + object
	e.mu.Lock()
	was, known := e.said[key]
	e.said[key] = holds
	e.mu.Unlock()
	if known && was == holds {
		return
	}
	ev := alarm.Event{Name: ends, Object: object, Evidence: evidence}
	if holds {
		ev.Name, ev.Text = begins, text
	}
	e.post(ev)
}

// event passes on what has no end.
func (e *edges) event(name, object, text string) {
	e.post(alarm.Event{Name: name, Object: object, Text: text})
}
