package vip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// effector carries out what its machine decides. Three goroutines: the loop, which never waits for anything but events, so that the
// gate is refreshed in time; the worker, which talks to the kernel about addresses and rules and may have to wait for its locks; the
// reader of the watcher.
type effector struct {
	v     *VIP
	log   *zap.Logger
	clock func() time.Duration
	gate  *gate // nil: none
	watch *watcher
	addrs *addresses // the worker's

	mu       sync.Mutex // guards machine, announce and the gate's port
	machine  *machine
	announce *announcer
	alarm    time.Duration // when the loop wakes up at the latest

	todo  chan job // the machine lets one job run at a time, so neither channel ever blocks
	ended chan outcome
	until atomic.Int64 // the worker adds nothing at this moment or later
}

// outcome is what the worker says.
type outcome struct {
	result
	link link // put, check: where the addresses are
}

// partingTime bounds how long Run goes on trying to remove the addresses when it is to end.
const partingTime = 3 * time.Second

// errStillUp says that Run gave up. What fence there is goes on.
var errStillUp = fmt.Errorf("the service address could not be removed within %v", partingTime)

// openEffector opens all sockets in the network namespace of the calling thread.
func openEffector(v *VIP) (_ *effector, err error) {
	fence := v.Fence()
	e := &effector{
		v:       v,
		log:     v.opts.Logger,
		clock:   v.opts.Clock,
		machine: newMachine(v.opts.Announce, fence == supervisor.FenceNftables),
		todo:    make(chan job, 1),
		ended:   make(chan outcome, 1),
	}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if fence == supervisor.FenceNftables {
		if v.gate.port, err = openRefresher(v.gate.v4, v.gate.v6); err != nil {
			return nil, err
		}
		e.gate = v.gate
	}
	if e.addrs, err = openAddresses(v.opts.Interface, v.opts.Addresses, fence != supervisor.FenceNone); err != nil {
		return nil, err
	}
	if e.announce, err = openAnnouncer(v.opts.Addresses); err != nil {
		return nil, err
	}
	if e.watch, err = openWatcher(v.opts.Interface, v.opts.Addresses); err != nil {
		return nil, err
	}
	return e, nil
}

// close closes what was opened, except the watcher, whose reader run ends first.
func (e *effector) close() {
	if e.gate != nil {
		e.gate.port.close()
	}
	if e.addrs != nil {
		e.addrs.close()
	}
	if e.announce != nil {
		e.announce.close()
	}
}

func (e *effector) run(ctx context.Context) error {
	var wg sync.WaitGroup
	var watchErr error
	wg.Go(func() { watchErr = e.watch.run() })
	wg.Go(func() { defer close(e.todo); e.loop(ctx) })
	e.v.active.Store(e)

	e.work() // here, because it opens sockets as it goes, which belong to this thread's network namespace

	e.v.active.Store(nil)
	closeErr := e.watch.close()
	wg.Wait()
	e.mu.Lock() // a Set may still be at it
	defer e.mu.Unlock()
	defer e.close()
	if e.machine.addr != absent {
		return errors.Join(errStillUp, e.machine.problem(e.clock()))
	}
	var err error
	if e.gate != nil {
		err = e.gate.uninstall()
	}
	return errors.Join(err, watchErr, closeErr)
}

// loop waits for events and does what follows from them, until ctx has ended and nothing is left up.
func (e *effector) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	end, parting := ctx.Done(), (<-chan time.Time)(nil)
	for {
		nap, left := e.look()
		if left {
			return
		}
		timer.Reset(nap)
		var event func()
		select {
		case <-e.v.box.wake:
		case <-timer.C:
		case o := <-e.ended:
			event = func() { e.finished(o) }
		case <-e.watch.wake:
			event = func() { e.changed(e.watch.take()) }
		case <-end:
			end, parting = nil, time.After(partingTime)
			event = e.machine.leave
		case <-parting:
			return
		}
		if event != nil {
			e.mu.Lock()
			event()
			e.mu.Unlock()
		}
	}
}

// look does what is to be done, and tells how long the loop may nap and whether nothing is left.
func (e *effector) look() (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.v.again.Swap(false) {
		e.machine.again(e.clock())
	}
	for e.settle(true) {
	}
	now := e.clock()
	wait := min(e.machine.wakeAt(now)-now, time.Hour)
	// Timers run on a clock that may be 8 % slower than that of leases: most of the way first, then the rest.
	if wait > 2*time.Millisecond {
		wait -= wait / 10
	}
	e.alarm = now + wait
	return wait, e.machine.left()
}

// refresh carries out a renewal in the goroutine of Set. It gives false if more is to be done, which is the loop's.
func (e *effector) refresh() bool {
	if !e.mu.TryLock() {
		return false
	}
	defer e.mu.Unlock()
	for e.settle(false) {
	}
	now := e.clock()
	return e.machine.step(now).kind == rest && e.machine.wakeAt(now) >= e.alarm && !e.machine.left()
}

// settle takes the newest desired state and does the next thing, if there is one. Everything, or only refreshes of the gate.
func (e *effector) settle(everything bool) bool {
	if h, newest, ok := e.v.box.take(); ok {
		e.machine.set(e.clock(), h, newest)
	}
	now := e.clock()
	if everything && e.v.doubted.Swap(false) {
		e.machine.touched(now, true, true)
	}
	until := time.Duration(0)
	if e.machine.wanted(now) {
		until = e.machine.hold.Until
	}
	e.until.Store(int64(until))
	s := e.machine.step(now)
	if s.kind == rest || !everything && s.kind != armGate {
		return false
	}
	e.do(s)
	return true
}

func (e *effector) do(s step) {
	m := e.machine
	switch s.kind {
	case closeGate:
		err := e.gate.shut()
		m.closed(e.clock(), err)
	case armGate:
		until := m.hold.Until
		again, open, err := e.gate.arm(e.clock, until)
		m.armedFor(e.clock(), until, again, open, err)
	case startJob:
		m.started(s.job)
		e.todo <- s.job
	case announceNow:
		err := e.announce.send(e.late())
		m.announced(e.clock(), err)
	case report:
		e.tell(s.say)
		m.reported(s)
	}
}

// late tells whether the lease is over.
func (e *effector) late() func() bool {
	return lateAfter(e.clock, func() time.Duration { return time.Duration(e.until.Load()) })
}

// work does the jobs that may have to wait in the kernel, until the loop has ended.
func (e *effector) work() {
	for j := range e.todo {
		o := outcome{result: result{job: j}}
		switch j {
		case put:
			o.link, o.err = e.addrs.put(e.late())
		case check:
			o.link, o.repaired, o.err = e.addrs.check(e.late())
		case remove:
			o.repaired, o.err = e.addrs.remove()
		case install:
			o.err = e.gate.install()
		case probe:
			o.effect, o.err = e.gate.works()
		}
		e.ended <- o
	}
}

// finished passes the outcome of a job to the machine.
func (e *effector) finished(o outcome) {
	if o.err == nil && (o.job == put || o.job == check) {
		e.announce.use(o.link)
	}
	if o.repaired > 0 && (o.job == check || e.machine.foreign) {
		e.v.repairs.Add(uint64(o.repaired))
		e.log.Warn("address repaired: somebody else had changed it", zap.Stringers("vip", e.v.opts.Addresses),
			zap.String("link", e.v.opts.Interface))
	}
	if o.job == install && o.err == nil {
		e.log.Warn("fence rebuilt: its nftables rules were gone")
	}
	e.machine.done(e.clock(), o.result)
}

func (e *effector) changed(c changes) {
	now := e.clock()
	if c.link {
		e.machine.relinked(now, c.cameUp)
	}
	e.machine.touched(now, c.added, c.removed)
}

func (e *effector) tell(r supervisor.AddressReport) {
	fields := []zap.Field{zap.Stringers("vip", e.v.opts.Addresses), zap.String("link", e.v.opts.Interface), zap.Uint64("term", uint64(r.Epoch))}
	switch {
	case r.Err != nil:
		e.log.Error("address not as wanted", append(fields, zap.NamedError("err", r.Err))...)
	case r.Held:
		e.log.Info("address held", fields...)
	default:
		e.log.Info("address not held", fields...)
	}
	e.v.opts.Report(r)
}
