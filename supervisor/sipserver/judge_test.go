package sipserver

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	second = time.Second
	ms     = time.Millisecond
)

// step is one thing that happens at a moment. Exactly one of its parts is set.
type step struct {
	at      time.Duration
	class   supervisor.Class // a probe's view
	refused bool
	sight   *sight
	exit    *exit
	look    *looks
	unread  int // with look: octets in the server's UDP socket
	traffic *TrafficFacts
}

func say(at time.Duration, c supervisor.Class) step { return step{at: at, class: c} }

func refused(at time.Duration) step { return step{at: at, class: supervisor.ClassDead, refused: true} }

func see(at time.Duration, pids ...int) step {
	s := &sight{}
	for _, pid := range pids {
		s.holders = append(s.holders, process(pid))
	}
	return step{at: at, sight: s}
}

// process makes 100 and 200 main processes, those above their workers, and 150 to 199 helpers of 100.
func process(pid int) holder {
	h := holder{pid: pid, parent: pid / 100 * 100, name: "kamailio", program: "/usr/sbin/kamailio"}
	switch {
	case pid%100 == 0:
		h.parent = 1
	case pid%100 >= 50:
		h.program = "/bin/sh"
	}
	return h
}

func nobody(at time.Duration) step {
	return step{at: at, sight: &sight{missing: "nothing listens on udp 10.0.0.1:5060"}}
}

// deaf is a sight of a server that lives and does not listen.
func deaf(at time.Duration, anew bool) step {
	s := nobody(at)
	s.sight.lives, s.sight.anew = "process 100 (kamailio)", anew
	return s
}

func end(at time.Duration, pid int, how string) step {
	return step{at: at, exit: &exit{pid: pid, how: how, orderly: how == "exit code 0"}}
}

func look(at time.Duration, l looks, unread int) step { return step{at: at, look: &l, unread: unread} }

// looking looks every 20 ms, as Server does; unread is what it finds, over and over again.
func looking(from, to time.Duration, l looks, unread ...int) []step {
	var all []step
	for at := from; at <= to; at += relook {
		all = append(all, look(at, l, unread[len(all)%len(unread)]))
	}
	return all
}

func told(at time.Duration, f TrafficFacts) step { return step{at: at, traffic: &f} }

const killed = "signal 9 (killed)"

// up is a server that serves since 0.1 s: main process 100 with two workers.
var up = []step{see(0, 100, 101, 102), say(100*ms, supervisor.ClassServing)}

func TestJudge(t *testing.T) {
	serving, dead, draining, unknown := supervisor.ClassServing, supervisor.ClassDead, supervisor.ClassDraining, supervisor.ClassUnknown
	idle := looks{all: 3}
	tests := []struct {
		name   string
		steps  []step
		reason supervisor.Reason
		text   string
	}{
		{"nothing known", nil, supervisor.ReasonServerStart, "not looked at yet"},
		{"not probed", []step{see(0, 100)}, supervisor.ReasonServerStart, "not probed yet"},
		{"answers before the first scan", []step{say(0, serving)}, supervisor.ReasonServerStart, ""},
		{"serving", up, "", "view"},
		{"nobody listens at start", []step{nobody(0)}, supervisor.ReasonServerDead, "nothing listens"},
		{"refused at start", []step{see(0, 100), refused(1)}, supervisor.ReasonServerDead, "view"},
		{"draining", append(up, say(second, draining)), supervisor.ReasonServerDrain, "view"},
		{"nobody can ask any more", append(up, say(second, unknown)), "", "view"},
		{"nobody could ever ask", []step{see(0, 100), say(second, unknown)}, supervisor.ReasonServerStart, "view"},
		{"refused", append(up, refused(second)), supervisor.ReasonServerDead, "view"},
		{"refused, then nobody can ask", append(up, refused(second), say(2*second, unknown)), supervisor.ReasonServerDead, "view"},

		{"main killed, workers go on", append(up, end(5*second, 100, killed), see(5*second, 101, 102), say(9*second, serving)), supervisor.ReasonServerDead, "process 100 (kamailio) ended, signal 9 (killed)"},
		{"main killed, socket gone", append(up, end(5*second, 100, killed), nobody(5*second)), supervisor.ReasonServerDead, "process 100 (kamailio) ended, signal 9 (killed); nothing listens"},
		{"main exits with 0, nobody left", []step{see(0, 100), say(ms, serving), end(5*second, 100, "exit code 0")}, supervisor.ReasonServerDead, "process 100 (kamailio) ended, exit code 0"},
		{"main exits with 0, others hold on", append(up, end(5*second, 100, "exit code 0"), see(5*second, 101, 102)), "", "view"},
		{"went to the background at start", []step{see(0, 100, 101), end(50*ms, 100, ""), see(51*ms, 101), say(90*ms, serving)}, "", "view"},
		{"restarted after main was killed", append(up, end(5*second, 100, killed), nobody(6*second), refused(6*second), see(7*second, 200, 201), say(8*second, serving)), "", "view"},
		{"restarted, not yet asked", append(up, end(5*second, 100, killed), nobody(6*second), see(7*second, 200, 201)), supervisor.ReasonServerDead, "process 100"},
		{"restarted, seen before the end of the old one is told", append(up, see(5*second, 100, 200, 201), end(5500*ms, 100, killed), see(6*second, 200, 201), say(8*second, serving)), "", "view"},
		{"restarted beside its orphans", append(up, end(5*second, 100, killed), see(6*second, 101, 102, 200), say(8*second, serving)), "", "view"},
		{"second main killed too", append(up, end(5*second, 100, killed), see(6*second, 101, 102, 200), say(8*second, serving), end(9*second, 200, killed)), supervisor.ReasonServerDead, "process 200"},

		{"worker killed", append(up, end(5*second, 101, killed), see(5*second, 100, 102), say(6*second, serving)), supervisor.ReasonServerDead, "process 101 (kamailio) ended, signal 9 (killed)"},
		{"worker fails", append(up, end(5*second, 101, "exit code 1")), supervisor.ReasonServerDead, "process 101 (kamailio) ended, exit code 1"},
		{"worker ends, unknown how", append(up, end(5*second, 101, "")), supervisor.ReasonServerDead, "process 101 (kamailio) ended"},
		{"worker exits with 0", append(up, end(5*second, 101, "exit code 0")), "", "view"},
		{"worker killed, server got over it", append(up, end(5*second, 101, killed), see(5*second, 100, 102, 103), say(8*second, serving), say(8500*ms, serving)), "", "view"},
		{"worker killed, no answer since", append(up, end(5*second, 101, killed), see(9*second, 100, 102, 103)), supervisor.ReasonServerDead, "process 101"},
		{"worker killed, then main", append(up, end(5*second, 101, killed), end(6800*ms, 100, "exit code 255"), see(7*second, 102), say(9*second, serving)), supervisor.ReasonServerDead, "process 100"},
		{"young fork killed", append(up, see(5*second, 100, 101, 102, 103), end(5100*ms, 103, killed)), "", "view"},
		{"helper killed", append(up, see(5*second, 100, 101, 102, 150), end(9*second, 150, killed)), "", "view"},
		{"stranger ends", append(up, end(5*second, 4711, killed)), "", "view"},
		{"worker let go of the socket", append(up, step{at: 5 * second, sight: &sight{gone: []int{101}}}, end(6*second, 101, killed)), "", "view"},

		{"socket gone", append(up, nobody(5*second)), supervisor.ReasonServerDead, "nothing listens on udp 10.0.0.1:5060"},
		{"socket back, not yet asked", append(up, nobody(5*second), see(6*second, 100)), supervisor.ReasonServerStart, "it listens again"},
		{"socket back, asked", append(up, nobody(5*second), see(6*second, 100), say(7*second, serving)), "", "view"},
		{"socket back, silent", append(up, nobody(5*second), see(6*second, 100), say(7*second, dead), look(7*second, idle, 900)), supervisor.ReasonServerStart, "view"},

		{"socket closed, process lives", append(up, deaf(5*second, false)), supervisor.ReasonListener, "nothing listens on udp 10.0.0.1:5060, but process 100 (kamailio) lives"},
		{"socket closed, then the process ends", append(up, deaf(5*second, false), end(6*second, 100, killed), nobody(6*second)), supervisor.ReasonServerDead, "process 100 (kamailio) ended, signal 9 (killed); nothing listens"},
		{"socket closed, then it listens and answers", append(up, deaf(5*second, false), see(6*second, 100), say(6*second, serving)), "", "view"},
		{"worker killed, coming down", append(up, end(5*second, 101, killed), deaf(6*second, false)), supervisor.ReasonServerDead, "process 101"},
		{"main killed, the next one can't bind", append(up, end(5*second, 100, killed), nobody(5*second), deaf(6*second, true)), supervisor.ReasonListener, "nothing listens"},
		{"main killed, the next one binds late", append(up, end(5*second, 100, killed), nobody(5*second), deaf(6*second, true), see(8*second, 200), say(8*second, serving)), "", "view"},
		{"can't bind at start", []step{deaf(0, true)}, supervisor.ReasonListener, "nothing listens"},
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

func apply(j *judge, s step) {
	switch {
	case s.sight != nil:
		j.scanned(s.at, *s.sight)
	case s.exit != nil:
		j.exited(s.at, *s.exit)
	case s.look != nil:
		j.queues.sampled(s.at, []socket{{transport: "udp", cookie: 1, unread: s.unread, limit: 200_000}})
		j.looked(s.at, *s.look)
	case s.traffic != nil:
		j.observed(s.at, *s.traffic, 0, false)
	default:
		j.probed(s.at, supervisor.View{Class: s.class, Text: "view"}, s.refused)
	}
}

func TestStarved(t *testing.T) {
	before := map[int]thread{1: {'R', 100 * ms}, 2: {'S', 0}}
	tests := []struct {
		name   string
		before map[int]thread
		now    map[int]thread
		want   bool
	}{
		{"first look, runnable", nil, map[int]thread{1: {'R', 0}, 2: {'S', 0}}, true},
		{"first look, asleep", nil, map[int]thread{1: {'S', second}, 2: {'D', 0}, 3: {'T', 0}}, false},
		{"waits", before, map[int]thread{1: {'R', 106 * ms}}, true},
		{"spins", before, map[int]thread{1: {'R', 101 * ms}}, false},
		{"waited, asleep now", before, map[int]thread{1: {'S', 120 * ms}}, false},
		{"woke up to wait", before, map[int]thread{1: {'S', 100 * ms}, 2: {'R', 12 * ms}}, true},
		{"new", before, map[int]thread{3: {'R', 20 * ms}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := starved(tt.before, tt.now, 20*ms); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
