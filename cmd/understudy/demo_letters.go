package main

import (
	"strings"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// Letters for time in which requests were lost.
const (
	demoSomeLost = '.'
	demoAllLost  = 'X'
)

// demoLetters says for each 10 ms of a span who answered the requests sent then. A rest shorter than that is left out.
func demoLetters(asks []lab.Ask, from, to time.Duration) string {
	var b strings.Builder
	i := 0
	for ; i < len(asks) && asks[i].Sent < from; i++ {
	}
	for end := from + demoLetter; end <= to; end += demoLetter {
		letter, lost, answered := ' ', false, false
		for ; i < len(asks) && asks[i].Sent < end; i++ {
			if a := asks[i]; a.Server == "" || a.Took > lab.AnswerLimit {
				lost = true
			} else {
				letter, answered = rune(a.Server[0]), true
			}
		}
		switch {
		case lost && answered:
			letter = demoSomeLost
		case lost:
			letter = demoAllLost
		}
		b.WriteRune(letter)
	}
	return strings.TrimRight(b.String(), " ")
}

const demoPrimary = "PRIMARY"

// demoCell is what a member says of itself, in a word or two.
func demoCell(s status.Snapshot) string {
	for _, n := range s.Nodes {
		switch {
		case n.Name != s.Node:
		case n.Role == supervisor.RolePrimary:
			return demoPrimary
		case s.Quorum.Lost():
			return "alone"
		case n.Server.Class == supervisor.ClassDead:
			return "SIP dead"
		case n.Role == supervisor.RoleBackup && n.Ready:
			return "backup"
		case n.Role == supervisor.RoleBackup && len(n.Reasons) > 0:
			return "no: " + string(n.Reasons[0])
		default:
			return string(n.State)
		}
	}
	return "-"
}

// Colours of a terminal.
const (
	demoPlain  = ""
	demoBold   = "\x1b[1m"
	demoRed    = "\x1b[31m"
	demoGreen  = "\x1b[32m"
	demoYellow = "\x1b[33m"
	demoCyan   = "\x1b[36m"
)

// demoColour is the colour of a member's cell: the primary has that of its letters.
func demoColour(member, cell string) string {
	switch cell {
	case demoPrimary:
		return demoLetterColour(rune(member[0]))
	case "backup", "-":
		return demoPlain
	default:
		return demoYellow
	}
}

func demoLetterColour(letter rune) string {
	switch letter {
	case demoAllLost:
		return demoRed
	case demoSomeLost:
		return demoYellow
	case 'a':
		return demoGreen
	case 'b':
		return demoCyan
	default:
		return demoPlain
	}
}

// letters paints each run of equal letters.
func (s *demoScreen) letters(text string) string {
	var b strings.Builder
	for rest := text; rest != ""; {
		run := len(rest) - len(strings.TrimLeft(rest, rest[:1]))
		b.WriteString(s.paint(demoLetterColour(rune(rest[0])), rest[:run]))
		rest = rest[run:]
	}
	return b.String()
}

func (s *demoScreen) paint(colour, text string) string {
	if !s.colour || colour == demoPlain {
		return text
	}
	return colour + text + "\x1b[0m"
}
