package nic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Watcher watches interfaces, also through removal and re-creation.
type Watcher struct {
	o      Options
	things []*thing
}

// New checks the options.
func New(o Options) (*Watcher, error) {
	if o.Report == nil || o.Logger == nil {
		return nil, errors.New("nic: report function and logger are needed")
	}
	all, err := o.monitors()
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	o.Logger = o.Logger.Named("nic")
	w := &Watcher{o: o}
	for _, m := range all {
		w.things = append(w.things, newThing(m))
	}
	return w, nil
}

const (
	again      = 100 * time.Millisecond // after which a disturbed look is made again
	maxBackoff = 5 * time.Second        // of subscribing anew, which begins with again
)

// Run reports until ctx ends, in the network namespace of the calling thread. It must be run once only.
func (w *Watcher) Run(ctx context.Context) error {
	wait, last := again, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := w.watch(ctx)
		if err == nil {
			continue
		}
		if time.Since(began) > maxBackoff {
			wait = again
		}
		if err.Error() != last {
			last = err.Error()
			w.o.Logger.Warn("link events interrupted", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxBackoff)
	}
	return nil
}

// watch reports from one subscription until that breaks or ctx ends.
func (w *Watcher) watch(ctx context.Context) (err error) {
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	p := newPackets()
	defer p.close()
	return w.follow(ctx, k, p)
}

// eyes see what interfaces are. wake gives a token when there are events to take; look asks for the present.
type eyes interface {
	wake() <-chan struct{}
	take() touched
	look(m Monitor, p past) (sight, error)
}

// voice asks gateways. ask doesn't wait for the answer.
type voice interface {
	ask(q question) error
	answers() <-chan answer
}

// follow is the loop: look where events point to, let time pass, ask gateways, report.
func (w *Watcher) follow(ctx context.Context, see eyes, say voice) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return nil
		case <-see.wake():
		case a := <-say.answers():
			w.answered(a)
		case <-timer.C:
		}
		events := see.take()
		if events.err != nil {
			return events.err
		}
		events.all = events.all || first
		w.look(see, events)
		for more := true; more; { // an answer that is there counts before time does
			select {
			case a := <-say.answers():
				w.answered(a)
			default:
				more = false
			}
		}
		timer.Reset(w.step(say))
	}
}

// look looks again at everything that events are about, and at what couldn't be seen before.
func (w *Watcher) look(see eyes, events touched) {
	for _, t := range w.things {
		now := time.Now()
		if !t.concerns(events) && !due(t.again, now) {
			continue
		}
		s, err := see.look(t.m, t.past)
		now = time.Now()
		if err != nil { // says nothing of the interface: the verdict stays
			if t.again.IsZero() {
				w.o.Logger.Warn("interface not visible", zap.String("link", t.m.Name), zap.Error(err))
			}
			t.again = now.Add(again)
			continue
		}
		t.sees(now, s)
		t.watchGateway(now)
	}
}

func (w *Watcher) answered(a answer) {
	if a.monitor < len(w.things) {
		w.things[a.monitor].answered(time.Now(), a)
	}
}

// step lets time pass, asks the gateways that are to be asked and reports what is new. It gives when to do so again.
func (w *Watcher) step(say voice) time.Duration {
	var next time.Time
	for i, t := range w.things {
		now := time.Now()
		t.damper.tick(now)
		t.watchGateway(now)
		if q, ask := t.ask(now, i); ask {
			t.asked(now, say.ask(q))
		}
		if s, news := t.state(); news {
			w.o.Report(s)
		}
		if g, news := t.gateway(now); news {
			w.o.ReportGateway(g)
		}
		next = earlier(next, t.next())
	}
	if next.IsZero() {
		return time.Hour
	}
	return max(time.Until(next), 0)
}
