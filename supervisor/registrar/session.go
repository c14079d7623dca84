package registrar

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// session keeps a connection for one question at a time. A connection that turns out to be dead is replaced and the question asked again:
// the server was started anew meanwhile.
type session[C any] struct {
	turn  chan struct{} // holds the right to use conn
	conn  C
	alive bool

	dial  func(context.Context) (C, error)
	close func(C)
	guard func(context.Context, C) (stop func() bool) // makes the end of ctx end what is under way at C
	fatal func(error) bool                            // after which the connection can't be used
}

// do lets f use the connection.
func (s *session[C]) do(ctx context.Context, f func(C) error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		kept := s.alive
		if !kept {
			conn, err := s.dial(ctx)
			if err != nil {
				return err
			}
			s.conn, s.alive = conn, true
		}
		stop := s.guard(ctx, s.conn)
		err := f(s.conn)
		if stop() && (err == nil || !s.fatal(err)) {
			return err
		}
		s.close(s.conn)
		s.alive = false
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !kept {
			return err
		}
	}
}

// end closes the connection.
func (s *session[C]) end() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.alive {
		s.close(s.conn)
		s.alive = false
	}
}

// pause is how long to wait before the next attempt to connect.
type pause struct{ last time.Duration }

const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// wait waits longer each time; false if ctx ended first.
func (p *pause) wait(ctx context.Context) bool {
	p.last = min(max(2*p.last, firstPause), lastPause)
	timer := time.NewTimer(p.last)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stay keeps a watch alive: connect and follow are called again and again until ctx ends.
func stay[C any](ctx context.Context, logger *zap.Logger, connect func(context.Context) (C, error), follow func(context.Context, C) error) error {
	var p pause
	lost := false
	for {
		conn, err := connect(ctx)
		if err == nil {
			if lost {
				logger.Info("its changes are heard of again")
			}
			lost, p = false, pause{}
			err = follow(ctx, conn)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !lost {
			logger.Warn("its changes are not heard of", zap.Error(err))
		}
		lost = true
		if !p.wait(ctx) {
			return ctx.Err()
		}
	}
}
