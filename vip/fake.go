package vip

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Fake is a working model of VIP for tests: it keeps a set of addresses in memory, drops them when the lease ends, reports, and records
// what it did. It works in a testing/synctest bubble if its clock does.
type Fake struct {
	kind      supervisor.Fence
	addresses []netip.Prefix
	clock     func() time.Duration
	report    func(supervisor.AddressReport)
	box       *mailbox

	mu      sync.Mutex
	fail    error
	failed  error // as reported last
	epoch   supervisor.Epoch
	serial  uint64
	up      map[netip.Prefix]bool
	history []string
}

// NewFake gives a Fake that claims to have the fence.
func NewFake(fence supervisor.Fence, clock func() time.Duration, report func(supervisor.AddressReport), addresses ...netip.Prefix) *Fake {
	return &Fake{kind: fence, addresses: addresses, clock: clock, report: report, box: newMailbox(), up: map[netip.Prefix]bool{}}
}

// Fence is what NewFake was given.
func (f *Fake) Fence() supervisor.Fence { return f.kind }

// Set is VIP.Set.
func (f *Fake) Set(h supervisor.Hold) {
	if f.box.put(h) {
		f.box.knock()
	}
}

// Announce does nothing.
func (f *Fake) Announce() {}

// CleanUp removes all addresses.
func (f *Fake) CleanUp(context.Context) error {
	f.change(supervisor.Hold{})
	return nil
}

// Run is VIP.Run.
func (f *Fake) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var h supervisor.Hold
	defer func() { h.Held = false; f.change(h) }()
	for {
		if newer, _, ok := f.box.take(); ok {
			h = newer
		}
		now, left := h, h.Until-f.clock()
		if now.Held = h.Held && left > 0; !now.Held {
			left = time.Hour
		}
		f.change(now)
		timer.Reset(left)
		select {
		case <-f.box.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// FailWith makes it fail from now on to take the addresses; nil ends that.
func (f *Fake) FailWith(err error) {
	f.mu.Lock()
	f.fail = err
	f.mu.Unlock()
	f.box.knock()
}

// change brings the addresses up or down and reports it.
func (f *Fake) change(h supervisor.Hold) {
	f.mu.Lock()
	was, before := len(f.up) > 0, f.epoch
	r := supervisor.AddressReport{Held: h.Held, Epoch: max(h.Epoch, before), Serial: h.Serial}
	if h.Held && f.fail != nil {
		r.Held, r.Err = false, f.fail
	}
	if was == r.Held && before == r.Epoch && f.serial == r.Serial && f.failed == r.Err { //nolint:errorlint // the very same
		f.mu.Unlock()
		return
	}
	f.epoch, f.serial, f.failed = r.Epoch, r.Serial, r.Err
	clear(f.up)
	for _, a := range f.addresses {
		if r.Held {
			f.up[a] = true
		}
	}
	f.history = append(f.history, fmt.Sprintf("held=%v epoch=%d", r.Held, r.Epoch))
	f.mu.Unlock()
	f.report(r)
}

// Present is VIP.Present.
func (f *Fake) Present() (map[netip.Prefix]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := map[netip.Prefix]bool{}
	for _, a := range f.addresses {
		is[a] = f.up[a]
	}
	return is, nil
}

// String gives the addresses that are up, sorted.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s []string
	for a := range f.up {
		s = append(s, a.String())
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// History gives every change, oldest first, as "held=true epoch=3".
func (f *Fake) History() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.history)
}
