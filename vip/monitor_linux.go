package vip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// watch is a Monitor at work. The loop owns everything but the sockets that the readers read.
type watch struct {
	o    MonitorOptions
	wish *wish
	post *post
	log  *zap.Logger

	addrs    *addresses
	events   *os.File
	ears     *ears      // nil: packet sockets are not permitted
	announce *announcer // nil with ears

	ledger      ledger
	own         map[MAC]bool
	link        link // as the ears and the announcer use it
	sentry      *sentry
	rivals      *rivals
	propagation *propagation
	lookAt      time.Duration
	looked      time.Duration
	blind       bool // the last look failed, which was logged

	seen  chan happening
	heard chan claim
	done  chan struct{}
}

// Run works until ctx ends. It opens its sockets in the network namespace of the calling thread.
func (m *Monitor) Run(ctx context.Context) error {
	w, err := openWatch(m)
	if err != nil {
		return err
	}
	return w.run(ctx)
}

func openWatch(m *Monitor) (_ *watch, err error) {
	o := m.o
	w := &watch{
		o: o, wish: &m.wish, post: &m.post, log: o.Logger,
		ledger:      ledger{name: o.Interface, group: o.Addresses, places: map[spot]bool{}},
		own:         map[MAC]bool{},
		sentry:      newSentry(o.Grace, o.Poll),
		rivals:      newRivals(o.Addresses),
		propagation: newPropagation(o.Grace),
		seen:        make(chan happening, 64),
		heard:       make(chan claim, 16),
		done:        make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.addrs, err = openAddresses(o.Interface, o.Addresses, false); err != nil {
		return nil, err
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_NEIGH
	if w.events, err = subscribe(groups); err != nil {
		return nil, fmt.Errorf("subscribe to address, link and neighbour events: %w", err)
	}
	w.ears, err = openEars(o.Addresses)
	if err == nil {
		w.announce, err = openAnnouncer(o.Addresses)
	}
	if errors.Is(err, unix.EPERM) {
		w.log.Warn("claims of other hosts are not seen", zap.NamedError("err", err))
		err = nil
	}
	return w, err
}

func (w *watch) close() error {
	var errs []error
	if w.addrs != nil {
		w.addrs.close()
	}
	if w.events != nil {
		errs = append(errs, w.events.Close())
	}
	if w.ears != nil {
		errs = append(errs, w.ears.close())
	}
	if w.announce != nil {
		w.announce.close()
	}
	return errors.Join(errs...)
}

func (w *watch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, 3) // one for each reader
	reader := func(read func() error) {
		wg.Go(func() {
			if err := read(); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	reader(func() error {
		pass := func(h happening) {
			select {
			case w.seen <- h:
			case <-w.done:
			}
		}
		see := func(m syscall.NetlinkMessage) {
			if h, ok := parseEvent(m); ok && w.concerns(h) {
				pass(h)
			}
		}
		if err := readEvents(w.events, see, func() { pass(happening{kind: eventsLost}) }); err != nil {
			return fmt.Errorf("read address, link and neighbour events: %w", err)
		}
		return nil
	})
	if w.ears != nil {
		for _, s := range w.ears.sockets {
			reader(func() error {
				return s.listen(func(c claim) {
					select {
					case w.heard <- c:
					case <-w.done:
					}
				})
			})
		}
	}
	w.loop(ctx)
	close(w.done)
	err := w.close()
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

func (w *watch) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	w.look()
	for {
		timer.Reset(w.nap())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			w.follow()
			w.wake()
		case <-w.post.wake:
			w.follow()
			w.read(w.post.take())
		case e := <-w.seen:
			w.follow()
			w.event(e)
		case c := <-w.heard:
			w.follow()
			w.claimed(c)
		}
	}
}

// nap is how long nothing is to be done.
func (w *watch) nap() time.Duration {
	now := w.o.Clock()
	at := min(w.lookAt, w.sentry.wakeAt(now), w.rivals.wakeAt(now), w.propagation.wakeAt(now))
	return max(at-now, time.Millisecond) // timers run on another clock and may be early
}

// follow takes what is wanted at this moment, before anything is judged.
func (w *watch) follow() {
	now := w.o.Clock()
	wanted, turn := w.wish.wants()
	w.conclude(w.sentry.want(now, wanted, turn))
	w.rivals.hold(now, wanted)
	w.correspond(w.propagation.hold(now, wanted))
}

// wake does what has become due.
func (w *watch) wake() {
	now := w.o.Clock()
	if now >= w.lookAt || w.sentry.overdue(now) {
		w.look()
	}
	w.defend(w.rivals.tick(now))
	w.correspond(w.propagation.tick(now))
}
