package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// VIP keeps the service addresses on this host's interface for as long as they are to be held. It works in the network namespace of
// the thread that calls CleanUp and Run.
type VIP struct {
	opts    Options
	box     *mailbox
	gate    *gate
	repairs atomic.Uint64
	doubted atomic.Bool              // Repair was called and the loop has not seen it yet
	again   atomic.Bool              // announce anew
	active  atomic.Pointer[effector] // while Run runs

	mu       sync.Mutex
	fence    supervisor.Fence
	detected bool
}

// New checks the options. It touches nothing.
func New(opts Options) (*VIP, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("service address: %w", err)
	}
	opts.Logger = opts.Logger.Named("vip")
	return &VIP{
		opts:  opts,
		box:   newMailbox(),
		gate:  newGate(opts.Cluster, opts.Addresses, opts.Lease),
		fence: supervisor.FenceNone,
	}, nil
}

// Fence tells what takes the address from this host when the process is frozen or dead: FenceNone until CleanUp or Run has found out.
func (v *VIP) Fence() supervisor.Fence {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fence
}

// Repairs counts the addresses that were put back, or removed again, because somebody else had changed them.
func (v *VIP) Repairs() uint64 { return v.repairs.Load() }

// Set gives the newest desired state. It never blocks; what was set before and not yet carried out is forgotten. A Hold of an older
// epoch than the newest seen is ignored.
//
// A renewal refreshes the gate before Set returns (10 to 20 µs): it does not have to wait until another goroutine is scheduled.
func (v *VIP) Set(h supervisor.Hold) {
	if !v.box.put(h) {
		return
	}
	if e := v.active.Load(); e == nil || !e.refresh() {
		v.box.knock()
	}
}

// Announce tells all neighbours again where the addresses are, on the schedule that follows taking them, if they are up.
func (v *VIP) Announce() {
	v.again.Store(true)
	v.box.knock()
}

// Repair has the effector look whether the addresses are as they shall be, and put them right, as if the kernel had told of a change. It
// never blocks.
func (v *VIP) Repair() {
	v.doubted.Store(true)
	v.box.knock()
}

// Busy reports whether a Repair has not been begun yet.
func (v *VIP) Busy() bool { return v.doubted.Load() }

// Present tells which addresses are on the interface now, whoever put them there.
func (v *VIP) Present() (map[netip.Prefix]bool, error) {
	a, err := openAddresses(v.opts.Interface, v.opts.Addresses, false)
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.present()
}

// CleanUp removes the addresses that an earlier process may have left, from every interface, finds out which fence works here, and
// leaves it closed. Repeating it is harmless, except while Run runs. It fails if an address can't be removed, or if Options.Fence is
// FenceNftables and that doesn't work.
func (v *VIP) CleanUp(_ context.Context) error { return v.detect() }

// clear removes what an earlier process left.
func (v *VIP) clear() error {
	a, err := openAddresses(v.opts.Interface, v.opts.Addresses, false)
	if err != nil {
		return err
	}
	defer a.close()
	n, err := a.remove()
	if n > 0 {
		v.opts.Logger.Info("left-over address removed", zap.Stringers("vip", v.opts.Addresses))
	}
	return err
}

// detect tries the gate out, and leaves it closed or leaves no gate. The trial opens it, so left-over addresses go before: those of a
// process that was killed a moment ago, whose role another host may have by now.
func (v *VIP) detect() error {
	if err := v.clear(); err != nil {
		return err
	}
	fence, err := supervisor.FenceNone, error(nil)
	switch v.opts.Fence {
	case FenceLifetime:
		fence = supervisor.FenceLifetime
	case FenceAuto, FenceNftables:
		fence = supervisor.FenceNftables
		err = v.tryGate()
	}
	if err != nil && v.opts.Fence == FenceNftables {
		return fmt.Errorf("the nftables fence does not work here: %w", err)
	}
	if err != nil {
		fence = supervisor.FenceLifetime
		v.opts.Logger.Warn("no nftables fence: a frozen process may keep the address for 2 s after its lease", zap.NamedError("err", err))
	}
	if fence != supervisor.FenceNftables {
		// What an earlier process or the trial left would keep the address closed. Without nftables there is nothing to remove.
		if err := v.gate.uninstall(); err != nil {
			v.opts.Logger.Debug("no nftables table removed", zap.NamedError("err", err))
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fence, v.detected = fence, true
	return nil
}

func (v *VIP) tryGate() error {
	port, err := openRefresher(v.gate.v4, v.gate.v6)
	if err != nil {
		return err
	}
	defer port.close()
	v.gate.port = port
	return errors.Join(v.gate.install(), v.gate.test())
}

// Run carries out what Set demands until ctx ends; then it closes the gate, removes the addresses and the nftables tables, and
// returns. It fails if it can't begin, or if at the end an address could not be removed.
func (v *VIP) Run(ctx context.Context) error {
	v.mu.Lock()
	detected := v.detected
	v.mu.Unlock()
	if !detected {
		if err := v.detect(); err != nil {
			return err
		}
	}
	e, err := openEffector(v)
	if err != nil {
		return err
	}
	return e.run(ctx)
}
