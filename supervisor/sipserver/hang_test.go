package sipserver

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// What it takes to call a server hung: two of three, for long enough, or processes that can't run.
func TestJudge_hang(t *testing.T) {
	serving, dead, draining := supervisor.ClassServing, supervisor.ClassDead, supervisor.ClassDraining
	idle, stopped := looks{all: 3}, looks{all: 3, stopped: 3}
	some, starved := looks{all: 3, stopped: 1}, looks{all: 3, waiting: 1, starved: true}
	answered, ignored := TrafficFacts{Requests: 5, Answered: 5}, TrafficFacts{Requests: 5}
	hung, works := supervisor.ReasonServerHung, supervisor.Reason("")
	silent := func(more ...[]step) []step {
		return slices.Concat(up, []step{say(5*second, dead)}, slices.Concat(more...))
	}
	one := func(s ...step) []step { return s }
	tests := []struct {
		name   string
		steps  []step
		reason supervisor.Reason
		text   string
	}{
		{"all stopped: at once", silent(one(look(5*second, stopped, 0))), hung, "view; 3 of 3 processes are stopped"},
		{"all stopped a moment later", silent(one(look(5*second, idle, 0), look(5020*ms, stopped, 0))), hung, "view; 3 of 3"},
		{"one of several stopped", silent(looking(5*second, 9*second, some, 0)), works, "view, but what arrives at its sockets is read"},
		{"no process to be seen", silent(one(look(5*second, looks{}, 900))), works, "view, not yet"},
		{"queue not read", silent(looking(5*second, 6500*ms, idle, 900)), hung, "view; what arrives is not read; 900 octets unread"},
		{"queue fills", silent(looking(5*second, 5740*ms, idle, 900), looking(5760*ms, 6500*ms, idle, 1800)), hung, "view; what arrives is not read; 1800"},
		{"queue not read, not for long enough", silent(looking(5*second, 6480*ms, idle, 900)), works, "view, not yet"},
		{"queue not read, 800 ms", silent(looking(5*second, 5800*ms, idle, 900), one(say(5800*ms, serving))), works, "view"},
		{"twice 800 ms", silent(looking(5*second, 5800*ms, idle, 900), one(say(5800*ms, serving), say(6*second, dead)), looking(6*second, 6800*ms, idle, 900)), works, "view, not yet"},
		{"queue read from time to time", silent(looking(5*second, 9*second, idle, slices.Concat(slices.Repeat([]int{900}, 70), []int{450})...)), works, "view, but what arrives at its sockets is read"},
		{"queue empty from time to time", silent(looking(5*second, 9*second, idle, slices.Concat(slices.Repeat([]int{900}, 70), []int{0})...)), works, "view, but what"},
		{"queue empty", silent(looking(5*second, 9*second, idle, 0)), works, "view, but what arrives at its sockets is read"},
		{"queue fills later", silent(looking(5*second, 9*second, idle, 0), looking(9020*ms, 10520*ms, idle, 900)), hung, "view; what arrives"},
		{"nobody looked in between", silent(one(look(5*second, idle, 900), look(7*second, idle, 900))), works, "view, but"},
		{"starved", silent(looking(5*second, 7480*ms, starved, 900)), works, "view, but its processes wait for the processor; 1 of 3"},
		{"starved for too long", silent(looking(5*second, 7500*ms, starved, 900)), hung, "view; what arrives"},
		{"starved at first", silent(looking(5*second, 6*second, starved, 900), looking(6020*ms, 6500*ms, idle, 900)), hung, "view; what"},
		{"hung stays hung", silent(looking(5*second, 6500*ms, idle, 900), one(look(6520*ms, idle, 0))), hung, "view; what"},
		{"hung, then answers", silent(looking(5*second, 6500*ms, idle, 900), one(say(7*second, serving))), works, "view"},
		{"hung, then refused", silent(looking(5*second, 6500*ms, idle, 900), one(refused(7*second))), supervisor.ReasonServerDead, "view"},
		{"hung, then requests are answered", silent(looking(5*second, 6500*ms, idle, 900), one(told(7*second, answered))), works, "view, but other requests are answered"},
		{"refused, then silent", slices.Concat(up, one(refused(5*second), say(6*second, dead)), looking(6*second, 7500*ms, idle, 900)), hung, "view"},

		{"requests ignored, queue read", silent(one(told(5*second, ignored)), looking(5*second, 6500*ms, idle, 0)), hung, "view; 5 other requests got no answer"},
		{"two requests ignored", silent(one(told(5*second, TrafficFacts{Requests: 2})), looking(5*second, 9*second, idle, 0)), works, "view, but what"},
		{"requests ignored long ago", silent(one(told(5*second, ignored)), looking(10*second, 12*second, idle, 0)), works, "view, but what"},
		{"requests answered, queue not read", silent(looking(5*second, 6*second, idle, 900), one(told(6*second, answered)), looking(6*second, 7480*ms, idle, 900)), works, "view, but other requests are answered"},
		{"requests answered for the last time", silent(looking(5*second, 6*second, idle, 900), one(told(6*second, answered)), looking(6*second, 7500*ms, idle, 900)), hung, "view; what"},
		{"requests answered before they were stopped", silent(one(told(5*second, answered), look(5*second, stopped, 0))), hung, "view; 3 of 3"},
		{"requests ignored, OPTIONS answered", slices.Concat(up, one(say(5*second, serving), told(5*second, ignored)), looking(5*second, 9*second, idle, 0)), works, "view"},
		{"requests ignored, queue not read, OPTIONS answered until now", slices.Concat(up, one(told(5*second, ignored)), looking(5*second, 6*second, idle, 900), one(say(6*second, serving)), looking(6*second, 7480*ms, idle, 900)), works, "view"},
		{"requests ignored, queue not read, nobody asks", slices.Concat(up, one(told(5*second, ignored)), looking(5*second, 6500*ms, idle, 900)), hung, "view; 5 other requests"},
		{"the same, then read", slices.Concat(up, one(told(5*second, ignored)), looking(5*second, 6520*ms, idle, 900), looking(6540*ms, 6600*ms, idle, 0)), works, "view"},
		{"503 and a full queue", slices.Concat(up, one(say(5*second, draining), told(5*second, ignored)), looking(5*second, 6*second, idle, 199_000)), supervisor.ReasonServerDrain, "view"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, now := newJudge("udp", DefaultHangAfter), time.Duration(0)
			for _, s := range tt.steps {
				now = s.at
				apply(j, s)
			}
			reason, text := j.verdict(now)
			if reason != tt.reason || !strings.HasPrefix(text, tt.text) {
				t.Errorf("got %q %q, want %q %q", reason, text, tt.reason, tt.text)
			}
		})
	}
}

// Where the sockets can't be seen, silence has to do; requests that are answered still speak for the server.
func TestJudge_probesAlone(t *testing.T) {
	j := newJudge("", DefaultHangAfter)
	apply(j, say(0, supervisor.ClassServing))
	apply(j, say(second, supervisor.ClassDead))
	for at := second; at < 4*second; at += relook {
		if at == 2*second {
			j.observed(at, TrafficFacts{Requests: 1, Answered: 1}, 0, false)
		}
		j.looked(at, looks{})
		want := supervisor.Reason("")
		if at >= 3500*ms {
			want = supervisor.ReasonServerHung
		}
		if reason, text := j.verdict(at); reason != want {
			t.Fatalf("after %v: got %q %q", at, reason, text)
		}
	}
}

// The alarms that are no reason: OPTIONS that nobody answers, and too much work.
func TestJudge_alarms(t *testing.T) {
	j := newJudge("udp", DefaultHangAfter)
	alarms := func(at time.Duration, optionsDead, overloaded bool) {
		t.Helper()
		if got := j.optionsDead(at); got != optionsDead {
			t.Errorf("at %v: options dead: got %v", at, got)
		}
		if got := j.overloaded(at); got != overloaded {
			t.Errorf("at %v: overloaded: got %v", at, got)
		}
	}
	sample := func(at time.Duration, unread int, drops uint32) {
		j.queues.sampled(at, []socket{{transport: "udp", cookie: 1, unread: unread, limit: 200_000, drops: drops}})
	}
	for _, s := range up {
		apply(j, s)
	}
	sample(second, 100_000, 7)
	alarms(second, false, false)
	sample(2*second, 100_000, 8)
	alarms(2*second, false, true)
	alarms(7*second, false, false)
	sample(8*second, 150_000, 8)
	alarms(8*second, false, true)
	apply(j, say(20*second, supervisor.ClassDead))
	sample(20*second, 150_000, 9)
	alarms(20*second, false, false) // it answers nothing: that is no overload
	alarms(21499*ms, false, false)
	alarms(21500*ms, true, false)
	apply(j, told(22*second, TrafficFacts{Requests: 4, Answered: 4, Unavailable: 2}))
	alarms(22*second, true, true)
	apply(j, say(30*second, supervisor.ClassServing))
	alarms(30*second, false, false)
	apply(j, say(31*second, supervisor.ClassDraining))
	alarms(31*second, false, true)
	if q := j.queues.facts; q != (Queue{Unread: 150_000, Buffer: 200_000, Drops: 9}) {
		t.Errorf("got %+v", q)
	}
}

// A server that answers at the service address while more waits than should is busy.
func TestJudge_busy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		unread []int // look by look
		served time.Duration
		want   bool
	}{
		{"it waits and is answered", []int{10_000}, 10 * second, true},
		{"little waits", []int{9_999}, 10 * second, false},
		{"nothing waits any more", []int{150_000, 0}, 10 * second, false},
		{"nothing is answered any more", []int{10_000}, 8 * second, false},
		{"only at another address", []int{10_000}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJudge("udp", DefaultHangAfter)
			for _, s := range up {
				apply(j, s)
			}
			for _, unread := range tt.unread {
				j.queues.sampled(10*second, []socket{{transport: "udp", cookie: 1, unread: unread, limit: 200_000}})
			}
			j.observed(10*second, TrafficFacts{Requests: 1, Answered: 1}, 10*second, true)
			if tt.served > 0 {
				j.traffic.servedAt(tt.served)
			}
			if got := j.busy(10 * second); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Which kind of event 00-04200 it is (S4-32).
func TestJudge_outage(t *testing.T) {
	segv := step{at: 5 * second, exit: &exit{pid: 100, how: "signal 11", cause: CauseUnexpected}}
	kill := step{at: 5 * second, exit: &exit{pid: 100, how: killed, cause: CauseUnauthorized}}
	const missing = "nothing listens on udp 10.0.0.1:5060"
	tests := []struct {
		name  string
		steps []step
		want  Outage
		since time.Duration
	}{
		{"none", up, Outage{}, 0},
		{"never listened", []step{nobody(second), nobody(2 * second)}, Outage{Missing: missing}, second},
		{"never could bind", []step{nobody(second), deaf(2*second, true)}, Outage{Cause: CauseBind, Missing: missing}, second},
		{"closed its socket", append(up, deaf(5*second, false)), Outage{Cause: CauseBind, Missing: missing}, 5 * second},
		{"ended unseen", append(up, nobody(5*second)), Outage{Cause: CauseUnexpected, Missing: missing}, 5 * second},
		{"failed", append(up, segv, nobody(6*second)), Outage{Cause: CauseUnexpected, Missing: missing}, 6 * second},
		{"was killed", append(up, kill, nobody(6*second)), Outage{Cause: CauseUnauthorized, Missing: missing}, 6 * second},
		{"was killed, orphans listen", append(up, kill, see(6*second, 101)), Outage{Cause: CauseUnauthorized}, 5 * second},
		{"was killed, the next one can't bind", append(up, kill, nobody(6*second), deaf(7*second, true)), Outage{Cause: CauseBind, Missing: missing}, 6 * second},
		{"is back", append(up, kill, nobody(6*second), see(7*second, 200), say(8*second, supervisor.ClassServing)), Outage{}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := newJudge("udp", DefaultHangAfter)
			for _, s := range tt.steps {
				apply(j, s)
			}
			if got, since, _ := j.outage(); got != tt.want || since != tt.since {
				t.Errorf("got %+v since %v, want %+v since %v", got, since, tt.want, tt.since)
			}
		})
	}
}
