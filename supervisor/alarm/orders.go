package alarm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Target names one alarm: by its number, or the active one of a condition on an object.
type Target struct {
	ID        uint64
	Condition string
	Object    string
}

// order is what a person or a script wants to be committed, and waits for.
type order struct {
	ctx   context.Context
	entry supervisor.AlarmEntry
	done  chan error // of length 1
}

// Why an order was not carried out.
var (
	ErrPending = errors.New("no majority of the nodes could be asked yet; this node keeps it and reacts by itself")
	ErrBusy    = errors.New("too much else waits to be committed")
)

const orderLimit = 64

// Raise raises an alarm by the name of its condition and returns when it is committed. ev.Name need not be configured, but then
// ev.Severity must be given, and the default reactions run. If ctx ends first the error is ErrPending, and it is committed later.
func (e *Engine) Raise(ctx context.Context, ev Event) error {
	now := time.Now()
	ev = ev.normal(e.o.Self, now)
	c, known := e.o.condition(ev.Name)
	if known && !c.Enabled {
		return fmt.Errorf("condition %s is not enabled", ev.Name)
	}
	x := detection(c, ev)
	x.Node = e.o.Self
	e.mu.Lock()
	_, err := e.table.Apply(x)
	if err == nil && !e.take(now, x) {
		err = ErrBusy
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return e.await(ctx, keyOf(x), true)
}

// await returns when the table has an active alarm of k, or has none.
func (e *Engine) await(ctx context.Context, k key, active bool) error {
	for {
		e.mu.Lock()
		_, ok := e.table.Find(k.condition, k.object)
		shown := e.shown
		e.mu.Unlock()
		if ok == active {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", ErrPending, ctx.Err())
		case <-shown:
		}
	}
}

// Clear ends an alarm by hand and returns when that is committed. by is who orders it. supervisor.ErrNoAlarm: it is not active. An
// alarm that is only pending here is ended here, and the error is ErrPending.
func (e *Engine) Clear(ctx context.Context, t Target, by, note string) error {
	return e.order(ctx, supervisor.AlarmCancelHand, t, by, note)
}

// Acknowledge says that somebody takes care of an active alarm, and returns when that is committed.
func (e *Engine) Acknowledge(ctx context.Context, t Target, by, note string) error {
	return e.order(ctx, supervisor.AlarmAcknowledge, t, by, note)
}

func (e *Engine) order(ctx context.Context, op supervisor.AlarmOp, t Target, by, note string) error {
	now := time.Now()
	x := supervisor.AlarmEntry{
		Op: op, ID: t.ID, Condition: t.Condition, Object: t.Object, Node: e.o.Self, At: now, By: by, Note: note,
	}.Normal()
	o := &order{ctx: ctx, entry: x, done: make(chan error, 1)}
	if err := e.enqueue(now, o); err != nil {
		return err
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-o.done: // it was settled at the same moment
		return err
	default:
	}
	e.call()
	return fmt.Errorf("no majority of the nodes could be asked: it may or may not have been done: %w", ctx.Err())
}

func (e *Engine) enqueue(now time.Time, o *order) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := &o.entry
	if a, ok := e.table.ByID(x.ID); ok && x.ID != 0 {
		x.Condition, x.Object = a.Condition, a.Object
	}
	if _, err := e.table.Apply(*x); err != nil {
		if errors.Is(err, supervisor.ErrNoAlarm) && x.ID == 0 && x.Op.Ends() && e.isPending(keyOf(*x)) && e.take(now, *x) {
			return ErrPending
		}
		return err
	}
	if len(e.orders) >= orderLimit {
		return ErrBusy
	}
	e.orders = append(e.orders, o)
	e.call()
	return nil
}
