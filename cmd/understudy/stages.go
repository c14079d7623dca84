package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// stages run parts in goroutines and stop them in the reverse order of their start, each joined before the next is stopped.
type stages struct {
	failed chan error // the first part that ended by itself
	parts  []*part
}

type part struct {
	name string
	stop context.CancelFunc
	done sync.WaitGroup
	err  error
}

func newStages() *stages { return &stages{failed: make(chan error, 1)} }

// start runs a part until it is stopped. A part that ends before that, with or without an error, fails the whole.
func (s *stages) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, stop: cancel}
	p.done.Go(func() {
		p.err = run(ctx)
		if ctx.Err() != nil {
			return
		}
		err := fmt.Errorf("%s ended", name)
		if p.err != nil {
			err = fmt.Errorf("%s: %w", name, p.err)
		}
		select {
		case s.failed <- err:
		default:
		}
	})
	s.parts = append(s.parts, p)
}

// stop stops all parts, the last one started first.
func (s *stages) stop() error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		p.stop()
		p.done.Wait()
		if p.err != nil && !errors.Is(p.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, p.err))
		}
	}
	return errors.Join(errs...)
}
