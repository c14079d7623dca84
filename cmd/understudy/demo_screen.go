package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor/status"
)

const (
	demoLetter = 10 * time.Millisecond // time that a letter stands for
	demoRow    = 40 * demoLetter       // and a row
	demoLag    = lab.AnswerLimit + 20*time.Millisecond
)

// demoScreen draws the pair while things happen to it: a row for each 400 ms with the members as they see themselves and who
// answered the client, and between rows what was done. It runs a little behind the world, because an answer may take AnswerLimit. Rows
// follow each other, so that it reads the same in a terminal and in a log.
type demoScreen struct {
	lab    *lab.Lab
	out    io.Writer
	colour bool
	began  time.Duration

	mu    sync.Mutex
	marks []demoMark // not drawn yet
	looks []demoLook // those that a row may still need
	drawn time.Duration
	// marked tells that the last line was a mark.
	marked bool
}

// demoMark is a line of text at a moment.
type demoMark struct {
	at   time.Duration
	text string
}

// demoLook is what the members said of themselves at a moment.
type demoLook struct {
	at    time.Duration
	epoch string
	cells []string // one for each member
}

func newDemoScreen(l *lab.Lab, out io.Writer) *demoScreen {
	now := lab.Now()
	return &demoScreen{lab: l, out: out, colour: isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", began: now, drawn: now}
}

// say puts a line between the rows, at this moment.
func (s *demoScreen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, demoMark{at: lab.Now(), text: text})
}

const demoHead = `
Each letter is 10 ms: who answered the client then.  . some requests lost  X all lost

  TIME  a            b            EPOCH  ANSWERS
`

// run draws until ctx ends, and then what is left.
func (s *demoScreen) run(ctx context.Context) error {
	if _, err := io.WriteString(s.out, demoHead); err != nil {
		return err
	}
	var clients []*status.Client
	for _, m := range lab.Members() {
		c := status.NewClient(s.lab.UnderstudySocket(m))
		defer c.Close()
		clients = append(clients, c)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last := lab.Now()
			time.Sleep(demoLag)
			return s.draw(last, true)
		case <-ticker.C:
		}
		s.look(ctx, clients)
		if err := s.draw(lab.Now()-demoLag, false); err != nil {
			return err
		}
	}
}

// look asks both members what they are.
func (s *demoScreen) look(ctx context.Context, clients []*status.Client) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	look := demoLook{at: lab.Now(), epoch: "-"}
	for _, c := range clients {
		snapshot, err := c.Snapshot(ctx)
		if err != nil {
			look.cells = append(look.cells, "-")
			continue
		}
		look.cells = append(look.cells, demoCell(snapshot))
		if e := fmt.Sprint(snapshot.Epoch); e != "0" && (look.epoch == "-" || demoCell(snapshot) == demoPrimary) {
			look.epoch = e
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, look)
}

// draw writes all rows and marks up to a moment, rows that are not full only if it is the last time.
func (s *demoScreen) draw(to time.Duration, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for {
		end, mark := s.drawn+demoRow, ""
		if len(s.marks) > 0 && s.marks[0].at <= end {
			end, mark = s.marks[0].at, s.marks[0].text
		} else if last && end > to {
			end = to
		}
		if end > to || last && mark == "" && end == s.drawn {
			break
		}
		if end-s.drawn >= demoLetter {
			if s.marked {
				b.WriteString("\n")
			}
			b.WriteString(s.row(s.drawn, end) + "\n")
			s.marked = false
		}
		s.drawn = max(s.drawn, end)
		if mark != "" {
			s.marks = s.marks[1:]
			if !s.marked {
				b.WriteString("\n")
			}
			b.WriteString(s.paint(demoBold, mark) + "\n")
			s.marked = true
		}
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// row is one line: the members as they were at its end, and who answered.
func (s *demoScreen) row(from, to time.Duration) string {
	look := demoLook{epoch: "-", cells: []string{"-", "-"}}
	for len(s.looks) > 0 && s.looks[0].at <= to {
		look, s.looks = s.looks[0], s.looks[1:]
	}
	s.looks = append([]demoLook{look}, s.looks...)
	line := fmt.Sprintf("%6.1f", (from - s.began).Seconds())
	for i, cell := range look.cells {
		line += "  " + s.paint(demoColour(lab.Members()[i], cell), fmt.Sprintf("%-11s", cell))
	}
	return line + fmt.Sprintf("  %5s  ", look.epoch) + s.letters(demoLetters(s.lab.Client.Window(from, to), from, to))
}
