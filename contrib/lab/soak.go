package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Soak keeps a healthy pair under load for a while: nothing is broken, so nothing may move.
type Soak struct {
	Supervisor Supervisor
	For        time.Duration
	Busy       int              // loops that keep processors busy meanwhile
	Progress   func(SoakResult) // called every minute
}

// SoakResult is what a soak saw so far.
type SoakResult struct {
	Lasted  time.Duration
	Moves   int           // how often another member answered than before
	Both    time.Duration // with two holders
	Longest time.Duration // outage, see Outage
	Asked   int
	Lost    int
}

// Run runs the soak.
func (s Soak) Run(ctx context.Context, l *Lab) (r SoakResult, err error) {
	if err := l.Supervise(s.Supervisor); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.Supervise(nil)) }()
	if err := l.waitHealthy(ctx); err != nil {
		return r, err
	}
	limit := strconv.Itoa(int(s.For.Seconds()) + 60)
	for i := range s.Busy {
		burner, err := l.Start(client, Command{Name: fmt.Sprintf("busy-%d", i), Args: []string{"timeout", limit, "sh", "-c", "while :; do :; done"}})
		if err != nil {
			return r, err
		}
		defer burner.Kill() //nolint:errcheck // its time limit ends it as well
	}
	start := Now()
	from, server, minute := start, "", start
	for r.Lasted < s.For && ctx.Err() == nil {
		time.Sleep(time.Second)
		to := Now() - 2*AnswerLimit // the answers to younger requests may be under way
		o := MeasureOutage(l.Client.Window(from-AnswerLimit, to), from, to)
		for _, who := range o.Servers {
			if server != "" && who != server {
				r.Moves++
			}
			server = who
		}
		r.Asked, r.Lost, r.Longest = r.Asked+o.Asked, r.Lost+o.Lost, max(r.Longest, o.Longest)
		r.Both += TwoHolders(l.Observer.Window(from, to), from, to)
		r.Lasted, from = to-start, to
		if s.Progress != nil && to-minute >= time.Minute {
			minute = to
			s.Progress(r)
		}
	}
	return r, ctx.Err()
}
