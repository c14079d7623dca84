package supervisor

import (
	"context"
	"math"
	"sync"
	"time"
)

// Ports are what a Runner drives its core with.
type Ports struct {
	Clock    func() Now
	Wire     Wire
	Log      Log
	Address  Address // a witness has none: nil is never used, because it never holds
	Audience Audience
	Alarm    func(after time.Duration) // has Runner.Ring called once, after that time, instead of when it was set for before
}

// Runner drives a core: it queues events, wakes the core when it asked to be woken, and carries actions out in order, one event at a
// time. Everything it calls returns at once, so that nothing ever delays a renewal.
//
// Lease messages and the alarm are worked off in the goroutine that they came in, if no other has its turn: handing each to another
// goroutine would cost a renewal twice the processor time.
type Runner struct {
	ports Ports
	core  *Core
	wake  chan struct{}

	turn sync.Mutex // held by whoever steps the core; nobody may before Run and after it

	mu    sync.Mutex
	queue []Event
}

// queueLimit bounds the lease messages that wait. Losing one costs time, a flood must not cost memory.
const queueLimit = 4096

// NewRunner makes the core, which starts now.
func NewRunner(opt Options, ports Ports) *Runner {
	r := &Runner{ports: ports, core: New(opt, ports.Clock()), wake: make(chan struct{}, 1)}
	r.turn.Lock()
	return r
}

// Post hands the core an event. It does not wait for anybody.
func (r *Runner) Post(ev Event) {
	if _, lossy := ev.(Received); lossy {
		r.enqueue(ev, queueLimit)
		r.drive()
		return
	}
	r.enqueue(ev, math.MaxInt)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Ring is what the alarm calls.
func (r *Runner) Ring() {
	r.enqueue(Tick{}, queueLimit)
	r.drive()
}

func (r *Runner) enqueue(ev Event, limit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) < limit {
		r.queue = append(r.queue, ev)
	}
}

func (r *Runner) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0
}

// drive works the queue off, unless another goroutine is at it: that one looks again after its turn.
func (r *Runner) drive() {
	for r.pending() && r.turn.TryLock() {
		r.drain()
		r.rearm()
		r.turn.Unlock()
	}
}

func (r *Runner) rearm() { r.ports.Alarm(max(0, r.core.Next()-r.ports.Clock().Mono)) }

// look is a question to the core, answered in its goroutine.
type look struct {
	at   func(*Core, Now)
	done chan struct{}
}

func (look) event() {}

// Look runs f with the core between two events. f must neither keep the core nor take long.
func (r *Runner) Look(ctx context.Context, f func(*Core, Now)) error {
	l := look{at: f, done: make(chan struct{})}
	r.Post(l)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave hands the role over, or drops it if there is nobody to take it, and returns when this node holds nothing, or with ctx.
func (r *Runner) Leave(ctx context.Context) error {
	r.Post(Leave{})
	for {
		var gone bool
		if err := r.Look(ctx, func(c *Core, _ Now) { gone = c.Gone() }); err != nil || gone {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(r.core.opt.Timing.Renew):
		}
	}
}

// Run drives the core until ctx ends, once. The address is dropped before it returns.
func (r *Runner) Run(ctx context.Context) error {
	r.rearm()
	r.turn.Unlock()
	for {
		select {
		case <-ctx.Done():
			r.turn.Lock() // for good
			if r.core.hold.Held {
				r.ports.Address.Set(Hold{Epoch: r.core.hold.Epoch, Serial: r.core.hold.Serial + 1})
			}
			return nil
		case <-r.wake:
			r.drive()
		}
	}
}

func (r *Runner) drain() {
	r.mu.Lock()
	queue := r.queue
	r.queue = nil
	r.mu.Unlock()
	for _, ev := range queue {
		if l, ok := ev.(look); ok {
			l.at(r.core, r.ports.Clock())
			close(l.done)
			continue
		}
		r.step(ev)
	}
}

func (r *Runner) step(ev Event) {
	for _, a := range r.core.Step(r.ports.Clock(), ev) {
		switch a := a.(type) {
		case Send:
			r.ports.Wire.Send(a.To, a.Message)
		case Tell:
			r.ports.Wire.Report(a.Report)
		case Propose:
			r.ports.Log.Propose(a.Entry)
		case Campaign:
			r.ports.Log.Campaign()
		case Transfer:
			r.ports.Log.Transfer(a.To)
		case Hold:
			r.ports.Address.Set(a)
		case Announce:
			r.ports.Address.Announce()
		case Became:
			r.ports.Audience.Became(a)
		case Alert:
			r.ports.Audience.Alert(a)
		}
	}
}
