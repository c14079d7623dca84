package oos

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Options say whom to ask and whom to tell.
type Options struct {
	Targets []Target
	// Report is told what is seen of a target: at once when the class, the status code or the kind of evidence changes, else at most
	// every 500 ms. A view that says serving always comes with a new answer. A target that is no longer asked is reported once
	// more, as unknown. Calls for one target come in order; those for different targets may come at the same time. It must not block.
	Report func(name string, v supervisor.View)
	Logger *zap.Logger
}

// Prober asks a changing set of targets.
type Prober struct {
	report func(string, supervisor.View)
	log    *zap.Logger

	mu      sync.Mutex
	targets []Target
	changed chan struct{}
}

// New checks the options.
func New(o Options) (*Prober, error) {
	if o.Logger == nil || o.Report == nil {
		return nil, errors.New("oos: no logger or no report function")
	}
	if err := validate(o.Targets); err != nil {
		return nil, fmt.Errorf("oos: %w", err)
	}
	return &Prober{
		report: o.Report, log: o.Logger.Named("oos"),
		targets: append([]Target(nil), o.Targets...), changed: make(chan struct{}, 1),
	}, nil
}

// SetTargets replaces the set of targets, also while Run runs. Targets that stay equal are asked on without a gap.
func (p *Prober) SetTargets(targets []Target) error {
	if err := validate(targets); err != nil {
		return fmt.Errorf("oos: %w", err)
	}
	p.mu.Lock()
	p.targets = append([]Target(nil), targets...)
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

func (p *Prober) wanted() []Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.targets
}

// running is a target that is being asked.
type running struct {
	target Target
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// Run asks until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	asked := map[string]*running{}
	defer func() {
		for _, r := range asked {
			r.cancel()
		}
		for _, r := range asked {
			<-r.done
		}
	}()
	for {
		p.reconcile(ctx, asked)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.changed:
		}
	}
}

// reconcile makes the set that is asked the one that is wanted.
func (p *Prober) reconcile(ctx context.Context, asked map[string]*running) {
	want := map[string]Target{}
	for _, t := range p.wanted() {
		want[t.Name] = t
	}
	for name, r := range asked {
		if t, ok := want[name]; !ok || t != r.target {
			r.stop()
			delete(asked, name)
			if !ok {
				p.report(name, supervisor.View{Class: supervisor.ClassUnknown, Text: "not probed"})
			}
		}
	}
	for name, t := range want {
		if asked[name] == nil {
			asked[name] = p.start(ctx, t)
		}
	}
}

func (p *Prober) start(ctx context.Context, t Target) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{target: t, cancel: cancel, done: make(chan struct{})}
	last := supervisor.ClassUnknown
	w := newWatch(t, func(v supervisor.View) {
		if v.Class != last {
			p.log.Info("probed target changed", zap.String("target", t.Name), zap.String("from", string(last)),
				zap.String("to", string(v.Class)), zap.String("why", v.Text))
			last = v.Class
		}
		p.report(t.Name, v)
	})
	go func() {
		defer close(r.done)
		if t.Transport == UDP {
			newUDP(w).run(ctx)
		} else {
			newStream(w).run(ctx)
		}
	}()
	return r
}
