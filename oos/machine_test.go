package oos

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const ms = time.Millisecond

// do is one thing that happens to a machine at a moment.
type do struct {
	at   time.Duration
	what string // "ask", "fail", "late", "refuse", "judge", or an answer's status code
	code int
}

// every asks at each multiple of 40 ms, as the default preset does, and judges just before.
func every(from, to time.Duration) []do {
	var all []do
	for at := from; at <= to; at += 40 * ms {
		all = append(all, do{at, "judge", 0}, do{at, "ask", 0})
	}
	return all
}

func answers(from, to time.Duration, code int) []do {
	var all []do
	for at := from; at <= to; at += 40 * ms {
		all = append(all, do{at, "judge", 0}, do{at, "ask", 0}, do{at + ms, "answer", code})
	}
	return all
}

func join(parts ...[]do) []do {
	var all []do
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// What a target is held for after what came back, a refusal at once.
func TestMachine(t *testing.T) {
	judge := func(at time.Duration) []do { return []do{{at, "judge", 0}} }
	tests := []struct {
		name  string
		steps []do
		class supervisor.Class
		text  string
	}{
		{"new", nil, supervisor.ClassUnknown, "not probed yet"},
		{"provisional is no answer", join(answers(0, 80*ms, 183)), supervisor.ClassUnknown, "not probed yet"},
		{"200", answers(0, 0, 200), supervisor.ClassServing, "200 in 1.0ms"},
		{"302", answers(0, 0, 302), supervisor.ClassServing, "302 in 1.0ms"},
		{"404", answers(0, 0, 404), supervisor.ClassServing, "404 in 1.0ms"},
		{"483", answers(0, 0, 483), supervisor.ClassServing, "483 in 1.0ms"},
		{"500", answers(0, 0, 500), supervisor.ClassServing, "500 in 1.0ms"},
		{"603", answers(0, 0, 603), supervisor.ClassServing, "603 in 1.0ms"},
		{"503", answers(0, 0, 503), supervisor.ClassDraining, "503 in 1.0ms"},
		{"408 is no answer", join(answers(0, 160*ms, 408), judge(180*ms)), supervisor.ClassDead, "no answer for 180ms"},
		{"504 is no answer", join(answers(0, 0, 200), answers(40*ms, 180*ms, 504), judge(181*ms)), supervisor.ClassDead, "no answer for 180ms"},
		{"not silent for long enough", join(answers(0, 0, 200), every(40*ms, 160*ms), judge(180*ms)), supervisor.ClassServing, "200 in 1.0ms"},
		{"silent", join(answers(0, 0, 200), every(40*ms, 160*ms), judge(181*ms)), supervisor.ClassDead, "no answer for 180ms"},
		{"never answered", join(every(0, 160*ms), judge(182*ms)), supervisor.ClassDead, "no answer for 182ms"},
		{"too few probes", []do{{0, "ask", 0}, {1 * ms, "answer", 200}, {40 * ms, "ask", 0}, {80 * ms, "ask", 0}, {300 * ms, "judge", 0}}, supervisor.ClassServing, "200 in 1.0ms"},
		{"refused", join(answers(0, 0, 200), []do{{40 * ms, "ask", 0}, {41 * ms, "refuse", 0}}), supervisor.ClassDead, "refused"},
		{"refused, then silent", join([]do{{0, "refuse", 0}}, every(40*ms, 160*ms), judge(190*ms)), supervisor.ClassDead, "no answer for 190ms"},
		{"one good answer after refused", join([]do{{0, "refuse", 0}}, answers(40*ms, 40*ms, 200)), supervisor.ClassDead, "refused"},
		{"two good answers after refused", join([]do{{0, "refuse", 0}}, answers(40*ms, 80*ms, 200)), supervisor.ClassServing, "200 in 1.0ms"},
		{"two that are not in a row", join([]do{{0, "refuse", 0}}, answers(40*ms, 40*ms, 200), answers(80*ms, 80*ms, 408), answers(120*ms, 120*ms, 200)), supervisor.ClassDead, "refused"},
		{"draining after dead", join([]do{{0, "refuse", 0}}, answers(40*ms, 40*ms, 503)), supervisor.ClassDraining, "503 in 1.0ms"},
		{"one good answer after draining", join(answers(0, 0, 503), answers(40*ms, 40*ms, 200)), supervisor.ClassDraining, "503 in 1.0ms"},
		{"two good answers after draining", join(answers(0, 0, 503), answers(40*ms, 80*ms, 200)), supervisor.ClassServing, "200 in 1.0ms"},
		{"late: the window is void", join(answers(0, 0, 200), every(40*ms, 160*ms), []do{{400 * ms, "late", 0}, {400 * ms, "judge", 0}}, every(400*ms, 520*ms)), supervisor.ClassServing, "200 in 1.0ms"},
		{"late, then silent", join(answers(0, 0, 200), []do{{400 * ms, "late", 0}}, every(400*ms, 560*ms), judge(580*ms)), supervisor.ClassDead, "no answer for 180ms"},
		{"cannot ask for a moment", join(answers(0, 0, 200), []do{{40 * ms, "fail", 0}, {80 * ms, "judge", 0}}), supervisor.ClassServing, "200 in 1.0ms"},
		{"cannot ask", join(answers(0, 0, 200), []do{{40 * ms, "fail", 0}, {181 * ms, "judge", 0}}), supervisor.ClassUnknown, "no route"},
		{"can ask again", join(answers(0, 0, 200), []do{{40 * ms, "fail", 0}, {181 * ms, "judge", 0}}, every(200*ms, 360*ms)), supervisor.ClassUnknown, "no route"},
		{"can ask again, silent", join(answers(0, 0, 200), []do{{40 * ms, "fail", 0}, {181 * ms, "judge", 0}}, every(200*ms, 360*ms), judge(380*ms)), supervisor.ClassDead, "no answer for 180ms"},
		{"can ask again, answered", join(answers(0, 0, 200), []do{{40 * ms, "fail", 0}, {181 * ms, "judge", 0}}, answers(200*ms, 200*ms, 200)), supervisor.ClassServing, "200 in 1.0ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(180*ms, 0, 0)
			now := time.Duration(0)
			for _, s := range tt.steps {
				now = s.at
				apply(&m, s)
			}
			got := m.view(now)
			if got.Class != tt.class || got.Text != tt.text {
				t.Errorf("got %s %q, want %s %q", got.Class, got.Text, tt.class, tt.text)
			}
		})
	}
}

func apply(m *machine, s do) {
	switch s.what {
	case "ask":
		m.sent(s.at)
	case "fail":
		m.unsent("no route")
	case "late":
		m.late(s.at)
	case "refuse":
		m.refused(s.at, "")
	case "judge":
		m.judge(s.at)
	case "answer":
		m.answered(s.at, s.code, ms)
	}
}

// Silence is judged at the moment it has lasted long enough, not at the next probe.
func TestMachine_deadline(t *testing.T) {
	m := newMachine(180*ms, 0, 0)
	for _, s := range join(answers(0, 0, 200), every(40*ms, 80*ms)) {
		apply(&m, s)
	}
	if _, ok := m.deadline(); ok {
		t.Error("got a deadline after two unanswered probes")
	}
	m.sent(120 * ms)
	if at, ok := m.deadline(); !ok || at != 181*ms {
		t.Errorf("got %v, %v, want 181ms", at, ok)
	}
	m.judge(181 * ms)
	if _, ok := m.deadline(); ok {
		t.Error("got a deadline although the verdict is known")
	}
}

func TestRefused(t *testing.T) {
	m := newMachine(180*ms, 0, 0)
	m.refused(0, "TLS: bad certificate")
	if v := m.view(0); !Refused(v) || v.Text != "refused: TLS: bad certificate" {
		t.Errorf("got %+v", v)
	}
	for _, s := range join(every(0, 160*ms), []do{{190 * ms, "judge", 0}}) {
		apply(&m, s)
	}
	if v := m.view(200 * ms); Refused(v) || v.Class != supervisor.ClassDead {
		t.Errorf("got %+v", v)
	}
}
