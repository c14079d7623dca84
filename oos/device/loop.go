package device

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// grain is how exactly moments are kept: what falls into the same one is done together, which costs one waking up.
const grain = 5 * time.Millisecond

// stall is how late this process may look before that counts as not having run.
const stall = 200 * time.Millisecond

// mostJudged bounds how many devices are judged at a time, crowd is how many are many.
const (
	mostJudged = 256
	crowd      = 100
)

// loop is the state of the goroutine of Run.
type loop struct {
	begin   func(func(context.Context)) // begins what Run waits for in the end
	begun   uint64                      // the turn of being active that is taken up
	alarm   time.Duration               // set to ring then; 0 if it is not known
	rang    bool
	stopped time.Duration // how long in all this process did not run
	spare   []note

	named   []int32 // devices with a host name
	lookups chan int32
	sweepAt time.Duration // when names are to be looked at

	source   netip.Addr
	sourceAt time.Duration // when to look at it again
	families [2]family
	inward   *batch
	errors   failures
}

func (l *loop) init() {
	l.lookups = make(chan int32, len(l.named))
	l.inward = newBatch()
	for i := range l.families {
		l.families[i].v6 = i == 1
		l.families[i].outward = newBatch()
	}
}

// Run watches until ctx ends, and returns when everything that it started has ended. It is to be called once.
func (c *Checker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer c.end()
	defer wg.Wait()
	defer cancel()
	poller, err := raw.NewPoller(func() error {
		c.rang = true
		return c.round()
	})
	if err != nil {
		return err
	}
	c.loop.begin = func(f func(context.Context)) { wg.Go(func() { f(ctx) }) }
	for range min(lookers, len(c.named)) {
		c.loop.begin(c.looker)
	}
	c.inMu.Lock()
	c.poller = poller
	c.wake()
	c.inMu.Unlock()
	if err := poller.Run(ctx); err != nil {
		return errors.Join(err, poller.Close())
	}
	return ctx.Err()
}

// end closes everything. Nobody is told any more.
func (c *Checker) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.activate(false, c.now())
	c.reports = nil
	c.inMu.Lock()
	defer c.inMu.Unlock()
	c.in, c.poller, c.want = nil, nil, false
}

// round does everything that there is to do, and sets the alarm.
func (c *Checker) round() error {
	for more := true; more; {
		more = c.part()
	}
	return nil
}

// part does some of it. What has arrived is taken before any device is judged.
func (c *Checker) part() (more bool) {
	c.mu.Lock()
	if late := c.now() - c.alarm; c.alarm > 0 && late > stall {
		c.stopped += late
	}
	if c.rang {
		c.rang, c.alarm = false, 0
	}
	c.takeNotes()
	looked := c.now()
	c.receive()
	now := c.now()
	if now-looked > stall {
		c.stopped += now - looked
		c.receive()
	}
	if now >= c.sweepAt {
		c.sweepAt = c.lookUp(now)
	}
	if c.active {
		c.lookAtSource(now)
		more = now >= c.alarm && c.judge(now)
		for i := range c.families {
			c.flush(&c.families[i])
		}
	}
	if more {
		c.alarm = 0
	} else {
		c.setAlarm()
	}
	reports := c.reports
	c.reports = nil
	c.mu.Unlock()
	for _, v := range reports {
		c.Report(v)
	}
	return more
}

// judge does what the devices' machines want done now, of some devices. There are more if it gives true.
func (c *Checker) judge(now time.Duration) bool {
	for range mostJudged {
		n, at := c.plan.first()
		if at > now {
			return false
		}
		s := &c.slots[n]
		for a := s.due(now, c.stopped); a != rest; a = s.due(now, c.stopped) {
			if a == ask {
				if s.state == OutOfService {
					s.learned = 0 // perhaps it is reached by another way now
				}
				s.planned = max(at, 1)
				s.probe()
				s.auth = s.login.answer()
				if l := s.stream.link; l != nil && l.quiet {
					s.drop() // a connection into a black hole stays one
				}
			}
			c.send(s)
		}
		c.changed(s, now)
	}
	return true
}

// setAlarm has the next round come in time. Moments within one step share it.
func (c *Checker) setAlarm() {
	at := c.sweepAt
	if c.active {
		_, first := c.plan.first()
		at = min(at, first)
		for i := range c.families {
			if c.families[i].full {
				at = min(at, c.now()+time.Millisecond)
			}
		}
	}
	if at != never {
		at = (at + grain - 1) / grain * grain
	}
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if c.woken { // it is set to ring at once
		c.alarm = 0
		return
	}
	if at != c.alarm && at != never {
		c.poller.Alarm(at - c.now())
	}
	c.alarm = at
}

// spread gives when the nth of n devices is asked first: all of them soon, but not all at once. Many are asked for the second time a little
// sooner than oos-check says, which spreads them over all of it from then on.
func spread(nth, n int, check time.Duration) (first, early time.Duration) {
	first = min(time.Second, check/10) * time.Duration(nth) / time.Duration(n)
	if n < crowd {
		return first, 0
	}
	return first, check - max(check*time.Duration(nth+1)/time.Duration(n), first) + first
}

// activate begins anew, or ends asking.
func (c *Checker) activate(yes bool, now time.Duration) {
	c.active = yes
	nth := 0
	for i := range c.slots {
		s := &c.slots[i]
		s.hangUp()
		first, early := never, time.Duration(0)
		if yes && s.check > 0 {
			first, early = spread(nth, c.probed, s.check)
			first += now
			nth++
		}
		s.machine.begin(now, first, early)
		c.publish(s, now)
	}
	for i := range c.families {
		c.families[i].close(c)
	}
}
