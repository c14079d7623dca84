package vip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const ms = time.Millisecond

// world runs a machine in virtual time against a model of the kernel: addresses, and a gate whose elements expire.
type world struct {
	t    *testing.T
	m    *machine
	now  time.Duration
	cost map[job]time.Duration // how long a job takes; 100 µs unless set
	fail map[job]error         // what it ends with

	rungs  []rung
	rules  bool // the gate's rules are there
	opened time.Duration
	addrs  bool
	ends   time.Duration // of the running job
	trace  []string
}

func newWorld(t *testing.T, gated bool) *world {
	w := &world{
		t: t, m: newMachine(DefaultOptions().Announce, gated), now: time.Second,
		cost: map[job]time.Duration{}, fail: map[job]error{}, rungs: ladder(150 * ms), rules: gated,
	}
	w.run(w.now + 10*ms) // the first removal
	w.trace = nil
	return w
}

// served is what neighbours see.
func (w *world) served() bool { return w.addrs && (!w.m.gated || !w.rules || w.now < w.opened) }

// rightful reports whether to tell others of the address: it is up, or known to be looked at, and the lease runs.
func (w *world) rightful() bool {
	return (w.addrs || w.m.busy == check || w.m.checkAt != never) && w.now < w.m.hold.Until
}

func (w *world) set(h supervisor.Hold) {
	h.Serial = w.m.hold.Serial
	if h.Held != w.m.hold.Held || h.Epoch != w.m.hold.Epoch {
		h.Serial++
	}
	w.m.set(w.now, h, max(w.m.newest, h.Epoch))
	w.run(w.now)
}

func (w *world) hold(epoch supervisor.Epoch, left time.Duration) {
	w.set(supervisor.Hold{Held: true, Epoch: epoch, Until: w.now + left})
}

// run lets the time pass until end.
func (w *world) run(end time.Duration) {
	w.t.Helper()
	for range 100000 {
		if w.m.busy != idle && w.now >= w.ends {
			w.finish()
		}
		if s := w.m.step(w.now); s.kind != rest {
			w.do(s)
			continue
		}
		next := w.m.wakeAt(w.now)
		if next <= w.now {
			w.t.Fatalf("at %v: wake at %v", w.now, next)
		}
		if w.m.busy != idle {
			next = min(next, w.ends)
		}
		if next > end {
			w.now = end
			return
		}
		w.now = next
	}
	w.t.Fatalf("does not come to rest:\n%s", strings.Join(w.trace, "\n"))
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

var jobNames = [...]string{"idle", "put", "remove", "check", "install", "probe"}

func (w *world) do(s step) {
	switch s.kind {
	case closeGate:
		w.note("close")
		w.m.closed(w.now, w.send(w.now))
	case armGate:
		w.arm()
	case startJob:
		w.note("%s", jobNames[s.job])
		w.m.started(s.job)
		cost, set := w.cost[s.job]
		if !set {
			cost = 100 * time.Microsecond
		}
		w.ends = w.now + cost
	case announceNow:
		if !w.rightful() {
			w.t.Errorf("at %v: announced although not served", w.now)
		}
		w.note("announce")
		w.m.announced(w.now, nil)
	case report:
		w.note("report %v %d %v", s.say.Held, s.say.Epoch, s.say.Err)
		if s.say.Held && s.say.Err == nil && !w.rightful() {
			w.t.Errorf("at %v: reported as held although not served", w.now)
		}
		if s.say.Err == nil && !s.say.Held && (w.addrs || s.say.Serial != w.m.hold.Serial) {
			w.t.Errorf("at %v: reported as dropped although it is up: %+v", w.now, s.say)
		}
		w.m.reported(s)
	}
}

// send is what a refreshing packet does to the gate.
func (w *world) send(opened time.Duration) error {
	if !w.rules {
		return errGateMissing
	}
	w.opened = opened
	return nil
}

func (w *world) arm() {
	until := w.m.hold.Until
	i := pick(w.rungs, until-w.now)
	if i < 0 {
		w.note("arm closed")
		w.m.armedFor(w.now, until, never, false, w.send(w.now))
		return
	}
	w.note("arm %v", w.rungs[i].timeout)
	again := never
	if until-w.now > w.rungs[0].needs*5/4 {
		again = w.now + w.rungs[i].timeout/2
	}
	w.m.armedFor(w.now, until, again, true, w.send(w.now+w.rungs[i].timeout))
}

func (w *world) finish() {
	r := result{job: w.m.busy, err: w.fail[w.m.busy]}
	late := !w.m.wanted(w.now)
	switch {
	case r.job == probe:
		r.effect = w.rules && w.now < w.opened
	case r.job != remove && r.job != install && late:
		r.err = errTooLate
	case r.err != nil:
	case r.job == put:
		w.addrs = true
	case r.job == check && !w.addrs:
		w.addrs, r.repaired = true, 1
	case r.job == remove && w.addrs:
		w.addrs, r.repaired = false, 1
	case r.job == install:
		w.rules, w.opened = true, w.now
	}
	w.m.done(w.now, r)
}

// expect compares what was done since the last call.
func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := strings.Join(w.trace, "\n"); got != strings.Join(want, "\n") {
		w.t.Errorf("at %v it did:\n%s\nwant:\n%s", w.now, got, strings.Join(want, "\n"))
	}
	w.trace = nil
}

var errDenied = errors.New("denied")
