package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// calm is how long the service has to be without any fault to count as healthy.
const calm = 250 * time.Millisecond

// settled is how old the youngest look or request is that is judged: answers to younger ones may be under way.
const settled = 20 * time.Millisecond

// Healthy is nil when the pair is as it should be: both servers answer at their own addresses, exactly one member has the service
// addresses and has answered every request there for a moment, and the sidecars themselves say that all is well.
func (l *Lab) Healthy(ctx context.Context) error {
	to := Now() - settled
	return l.healthy(ctx, to-calm, to)
}

func (l *Lab) healthy(ctx context.Context, from, to time.Duration) error {
	server, err := steady(l.Client.Window(from, to), from)
	if err != nil {
		return err
	}
	if err := oneHolder(l.Observer.Window(from, to), server); err != nil {
		return err
	}
	for _, m := range Members() {
		ctx, cancel := context.WithTimeout(ctx, AnswerLimit)
		err := l.askOnce(ctx, client, Addr(m, SIP))
		cancel()
		if err != nil {
			return fmt.Errorf("the SIP server at %s: %w", m, err)
		}
	}
	if l.sup == nil {
		return nil
	}
	return l.sup.Healthy()
}

// steady finds the member that answered every request.
func steady(asks []Ask, from time.Duration) (string, error) {
	server, count := "", 0
	for _, a := range asks {
		switch {
		case a.Sent < from:
			continue
		case !a.answered():
			return "", ErrNoPrimary
		case server != "" && a.Server != server:
			return "", fmt.Errorf("%s and %s answered in turns", server, a.Server)
		}
		server = a.Server
		count++
	}
	if count < int(calm/AskInterval/2) {
		return "", errTooEarly
	}
	return server, nil
}

// oneHolder checks that a member, and it alone, holds the service addresses. Now and then an answer to the observer may be missing: a
// busy machine loses some.
func oneHolder(samples []Sample, member string) error {
	missing := 0
	for _, s := range samples {
		for _, h := range []Holders{s.Holders, s.Holders6} {
			if h != 0 && !h.only(member) {
				return fmt.Errorf("%s answered requests, but %s answered for the address", member, h)
			}
		}
		if s.Holders == 0 || s.Known6 && s.Holders6 == 0 {
			missing++
		}
	}
	if missing > len(samples)/5 {
		return fmt.Errorf("%s answered requests, but in %d of %d looks nobody answered for the address", member, missing, len(samples))
	}
	return nil
}

// errTooEarly is the state of a pair that was not watched for long enough.
var errTooEarly = errors.New("the pair was not watched for long enough")

// WaitHealthy waits until the pair has been healthy for a moment from now on, or ctx ends or a sidecar has ended; then it says what is
// wrong.
func (l *Lab) WaitHealthy(ctx context.Context) error {
	start := Now()
	for {
		err := errTooEarly
		if to := Now() - settled; to-calm >= start {
			err = l.healthy(ctx, to-calm, to)
		}
		if err == nil {
			return nil
		}
		if l.sup != nil {
			if err := allRun(l.sup); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the pair did not become healthy: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
