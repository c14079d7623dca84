package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// asksOf makes requests, one every 2 ms: a letter is who answered, x is nobody, l is an answer that came too late.
func asksOf(answers string) []lab.Ask {
	var asks []lab.Ask
	for i, c := range answers {
		a := lab.Ask{Sent: time.Duration(i) * lab.AskInterval}
		switch c {
		case 'x':
		case 'l':
			a.Server, a.Took = "a", lab.AnswerLimit+1
		default:
			a.Server, a.Took = string(c), time.Millisecond
		}
		asks = append(asks, a)
	}
	return asks
}

// Each letter stands for 10 ms, five requests: who answered, whether some were lost, or all.
func TestDemoLetters(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name, answers string
		from, to      time.Duration
		want          string
	}{
		{"all answered", "aaaaaaaaaa", 0, 20 * ms, "aa"},
		{"one lost", "aaaaaaxaaa", 0, 20 * ms, "a."},
		{"all lost", "aaaaaxxxxxbbbbb", 0, 30 * ms, "aXb"},
		{"too late is lost", "lllllaaaaa", 0, 20 * ms, "Xa"},
		{"moved without loss", "aaabbbbbbb", 0, 20 * ms, "bb"},
		{"from the middle", "aaaaabbbbb", 10 * ms, 20 * ms, "b"},
		{"a rest is left out", "aaaaaaaa", 0, 16 * ms, "a"},
		{"nothing was asked", "", 0, 20 * ms, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := demoLetters(asksOf(test.answers), test.from, test.to); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Colours are for terminals; without them the text is the same.
func TestDemoScreen_paint(t *testing.T) {
	if got, want := (&demoScreen{}).letters("aaX.bb"), "aaX.bb"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := demoGreen + "aa\x1b[0m" + demoRed + "X\x1b[0m" + demoCyan + "b\x1b[0m"
	if got := (&demoScreen{colour: true}).letters("aaXb"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A member says in a word or two what it is.
func TestDemoCell(t *testing.T) {
	good := status.Build(pair())
	if got, want := demoCell(good), demoPrimary; got != want {
		t.Errorf("the primary: got %q, want %q", got, want)
	}
	good.Node = "edge-b"
	if got, want := demoCell(good), "backup"; got != want {
		t.Errorf("the backup: got %q, want %q", got, want)
	}
	good.Quorum.Have = 1
	if got, want := demoCell(good), "alone"; got != want {
		t.Errorf("a backup that is cut off: got %q, want %q", got, want)
	}
	if got, want := demoCell(status.Snapshot{}), "-"; got != want {
		t.Errorf("nothing: got %q, want %q", got, want)
	}
}

// The demo plays to its end on a real pair, and its report has a line for each act.
func TestDemo(t *testing.T) {
	l, program := sharedLab(t)
	s, err := lab.Understudy(program, "default")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Supervise(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Supervise(nil); err != nil {
			t.Error(err)
		}
	})
	var out bytes.Buffer
	if err := newDemoShow(l, &out).run(t.Context()); err != nil {
		var logs bytes.Buffer
		demoLogs(&logs, l)
		t.Fatalf("%v\n%s%s", err, out.String(), logs.String())
	}
	_, report, _ := strings.Cut(out.String(), "WHAT IT COST")
	for _, want := range []string{"SIP server killed ", "host cut off ", "planned switchover ", "$ understudy status\nlab   good ", "primary-silent"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not say %q:\n%s", want, report)
		}
	}
}
