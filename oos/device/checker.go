package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// Options say which devices there are, how they are judged and whom to tell.
type Options struct {
	Devices  []Device
	Positive Answers // what proves a device to be in service
	FastFail bool    // an explicit refusal counts at once; DefaultOptions has it. Otherwise it is no answer
	// Source is the address to ask from: the service address where this node holds it. The zero Addr, and an address of another family
	// than the device's, leave it to the kernel. It is called often and must not block. nil: always the kernel.
	Source func() netip.Addr
	// Report is told every change of a verdict, one after the other. It must not block.
	Report func(Verdict)
	TLS    *tls.Config // for devices on TLS. Without a ServerName it is the host of the device's URI
	Logger *zap.Logger

	// LookUp finds the addresses of a host name. nil: as the system does.
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)
}

// DefaultOptions are those that somebody who says nothing else gets. Devices, Report and Logger are missing.
func DefaultOptions() Options {
	return Options{FastFail: true}
}

// Checker watches a set of devices.
type Checker struct {
	Options
	base    time.Time
	numbers map[string]int32

	mu      sync.Mutex // guards what follows; the goroutine of Run holds it while it works
	slots   []slot
	plan    *schedule
	active  bool
	probed  int // devices with oos-check
	out     int // of these: out of service
	reports []Verdict
	stats   Stats
	loop

	addrMu sync.RWMutex // taken after mu
	byAddr map[netip.Addr][]int32

	inMu   sync.Mutex // taken after mu
	in     []note
	want   bool   // to be active
	turn   uint64 // counts how often that became true
	woken  bool   // the alarm is set to ring at once
	poller *raw.Poller
}

// New checks the options and does nothing else.
func New(o Options) (*Checker, error) {
	if o.Logger == nil || o.Report == nil {
		return nil, errors.New("device: no logger or no report function")
	}
	o.Logger = o.Logger.Named("device")
	if o.Source == nil {
		o.Source = func() netip.Addr { return netip.Addr{} }
	}
	if o.LookUp == nil {
		o.LookUp = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c := &Checker{
		Options: o, base: time.Now(), numbers: map[string]int32{}, byAddr: map[netip.Addr][]int32{},
		slots: make([]slot, len(o.Devices)), plan: newSchedule(len(o.Devices)),
	}
	var errs []error
	for i, d := range o.Devices {
		errs = append(errs, d.Validate(o.TLS))
		if _, ok := c.numbers[d.Name]; ok {
			errs = append(errs, fmt.Errorf("two devices are named %q", d.Name))
		}
		c.numbers[d.Name] = int32(i)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	for i, d := range o.Devices {
		c.slots[i].init(d, int32(i), o.FastFail)
		if d.Check > 0 {
			c.probed++
		}
		c.place(&c.slots[i])
	}
	c.loop.init()
	return c, nil
}

func (c *Checker) now() time.Duration { return time.Since(c.base) }

// SetActive says whether this node is the primary. Only then it asks, and hints count. Whoever becomes active starts all over: every device is
// in service, unconfirmed, and is asked within the first second.
func (c *Checker) SetActive(yes bool) {
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if yes && !c.want {
		c.turn++
	}
	c.want = yes
	c.wake()
}

// wake has the goroutine of Run look at what is new. inMu is held.
func (c *Checker) wake() {
	if !c.woken && c.poller != nil {
		c.woken = true
		c.poller.Alarm(0)
	}
}

// Verdicts gives the present verdict on every device, in the order of Options.
func (c *Checker) Verdicts() []Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	all := make([]Verdict, len(c.slots))
	for i := range c.slots {
		all[i] = c.verdict(&c.slots[i], now)
	}
	return all
}

// AllOut reports whether there are probed devices and each of them is out of service. It is false where nobody asks.
func (c *Checker) AllOut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active && c.probed > 0 && c.out == c.probed
}

func (c *Checker) verdict(s *slot, now time.Duration) Verdict {
	v := Verdict{
		Device: s.device.Name, State: s.state, Confirmed: s.confirmed, Since: c.base.Add(s.since), Code: s.code, RTT: s.rtt, Text: s.text(now),
	}
	if s.retryUntil > now {
		v.RetryUntil = c.base.Add(s.retryUntil)
	}
	return v
}
