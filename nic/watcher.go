package nic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// Options say which interfaces to watch and whom to tell.
type Options struct {
	Links  []string
	Report func(State) // from one goroutine of Run; must not block
	Logger *zap.Logger
}

// Watcher watches interfaces by name, also through removal and re-creation.
type Watcher struct {
	o    Options
	last map[string]State
}

// New checks the options.
func New(o Options) (*Watcher, error) {
	if len(o.Links) == 0 || o.Report == nil || o.Logger == nil {
		return nil, errors.New("nic: links, report function and logger are needed")
	}
	o.Logger = o.Logger.Named("nic")
	return &Watcher{o: o, last: map[string]State{}}, nil
}

const (
	receiveBuffer = 1 << 20
	again         = 100 * time.Millisecond
)

// Run reports until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil {
			w.o.Logger.Warn("link events interrupted", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
	return nil
}

// follow reports from one subscription until it breaks, as it does when events come faster than they are read (ENOBUFS).
func (w *Watcher) follow(ctx context.Context) error {
	events, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	var broken error
	err := netlink.LinkSubscribeWithOptions(events, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) { broken = err }, ReceiveBufferSize: receiveBuffer,
	})
	if err != nil {
		return fmt.Errorf("subscribe to link events: %w", err)
	}
	defer func() {
		close(done)
		for range events { // the library's goroutine may be waiting to hand over one more
		}
	}()
	w.look()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return errors.Join(errors.New("subscription ended"), broken)
			}
			if w.watches(e.Attrs().Name) {
				w.look()
			}
		}
	}
}

func (w *Watcher) watches(name string) bool {
	for _, l := range w.o.Links {
		if l == name {
			return true
		}
	}
	return false
}

// look asks the kernel how the interfaces are now: an event may be older than the present.
func (w *Watcher) look() {
	for _, name := range w.o.Links {
		l, err := netlink.LinkByName(name)
		if err != nil {
			l = nil
		}
		s := judge(name, l)
		if last, told := w.last[name]; told && last == s {
			continue
		}
		w.last[name] = s
		w.o.Report(s)
	}
}
