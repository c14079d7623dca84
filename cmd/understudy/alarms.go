package main

import (
	"context"
	"fmt"
	"slices"
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

// edges posts an event when a condition begins and another when it ends, once each. What held before this process started, or was said by
// another primary, is unknown, so that the first word on a condition is always passed on: alarms of an earlier run end with it.
type edges struct {
	post func(alarm.Event)
	ends map[string]string // the event that ends what an event begins, of the built-in conditions

	mu   sync.Mutex
	said map[edge]word
}

// word is what was said last of a condition.
type word struct {
	holds bool
	text  string
}

// byPrimary are the conditions that the primary alone speaks of, by the events that begin them.
var byPrimary = []string{
	"backup-not-ready", "sip-path-doubted", "paused", "pause-expiring", "switchover-frozen", "sip-traffic-silent", "backoff-active",
	"device-out-of-service",
}

// edge is a condition on an object, by the event that begins it.
type edge struct{ begins, object string }

func newEdges(post func(alarm.Event)) *edges {
	e := &edges{post: post, ends: map[string]string{}, said: map[edge]word{}}
	for _, c := range alarm.Builtin() {
		e.ends[c.Detect] = c.Cancel
	}
	return e
}

// tookOver forgets what the primary says: another one may have said otherwise since.
func (e *edges) tookOver() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at := range e.said {
		if slices.Contains(byPrimary, at.begins) {
			delete(e.said, at)
		}
	}
}

// level says whether what an event begins holds for an object. Conditions that one event ends, end together: not before none of them
// holds any more.
func (e *edges) level(holds bool, begins, object, text, evidence string) {
	e.say(holds, false, begins, object, text, evidence)
}

// state is level for a text that says more than that it holds: another one is told as well.
func (e *edges) state(holds bool, begins, object, text, evidence string) {
	e.say(holds, true, begins, object, text, evidence)
}

func (e *edges) say(holds, retell bool, begins, object, text, evidence string) {
	e.mu.Lock()
	at := edge{begins, object}
	was, known := e.said[at]
	e.said[at] = word{holds, text}
	others := e.othersHold(at)
	e.mu.Unlock()
	switch {
	case known && was.holds == holds && !(retell && holds && was.text != text):
	case holds:
		e.post(alarm.Event{Name: begins, Object: object, Text: text, Evidence: evidence})
	case !others:
		e.post(alarm.Event{Name: e.ends[begins], Object: object, Evidence: evidence})
	}
}

func (e *edges) othersHold(at edge) bool {
	for other, w := range e.said {
		if w.holds && other != at && other.object == at.object && e.ends[other.begins] == e.ends[at.begins] {
			return true
		}
	}
	return false
}

// event passes on what has no end.
func (e *edges) event(name, object, text string) {
	e.post(alarm.Event{Name: name, Object: object, Text: text})
}
