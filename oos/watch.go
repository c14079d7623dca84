package oos

import (
	"context"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// repeatEvery bounds how often an unchanged view is reported.
const repeatEvery = 500 * time.Millisecond

// lateBy is how many intervals late this process may look before what it did not hear proves nothing.
const lateBy = 2

// watch is the state of one probed target. It belongs to one goroutine. Its moments are counted from base.
type watch struct {
	Target
	machine
	cadence
	base   time.Time
	report func(supervisor.View)

	looked  time.Duration // when the socket was last read to its end
	said    supervisor.View
	saidWhy finding
	saidAt  time.Duration
	fresh   bool // answered since the last report
}

func newWatch(t Target, report func(supervisor.View)) *watch {
	return &watch{
		Target: t, machine: newMachine(t.Silence, t.Rise, 0), base: time.Now(), report: report,
		said: supervisor.View{Class: supervisor.ClassUnknown}, saidAt: -repeatEvery,
	}
}

func (w *watch) now() time.Duration { return time.Since(w.base) }

// wake is when there is something to do although nothing arrives.
func (w *watch) wake() time.Duration {
	due := w.due()
	if at, ok := w.deadline(); ok && at < due {
		return at
	}
	return due
}

// isLate tells whether now is so long after the moment planned that nobody listened in between.
func (w *watch) isLate(now, planned time.Duration) bool { return now-planned > lateBy*w.Interval }

// took takes a final answer to one of our probes.
func (w *watch) took(now time.Duration, code int, rtt time.Duration) {
	w.answered(now, code, rtt)
	w.fresh = true
}

// conclude judges and reports. What has arrived has to be told before. A view that says serving is never repeated without a new
// answer.
func (w *watch) conclude(now time.Duration) {
	w.looked = now
	w.judge(now)
	changed := w.class != w.said.Class || w.code != w.said.Code || w.basis != w.saidWhy
	again := now-w.saidAt >= repeatEvery && (w.fresh || w.basis != answer)
	if !changed && !again {
		return
	}
	w.said, w.saidWhy, w.saidAt, w.fresh = w.view(now), w.basis, now, false
	w.report(w.said)
}

// pause waits until a moment or the end of ctx.
func (w *watch) pause(ctx context.Context, until time.Duration) {
	timer := time.NewTimer(until - w.now())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
