package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Command is one run of a script.
type Command struct {
	Argv  []string      // the script, then its arguments; no shell
	Env   []string      // KEY=value, added to the environment of the process
	Limit time.Duration // it is to be ended after that
}

// Result is how a script ended.
type Result struct {
	Code   int    // its exit code; meaningless with Err
	Output string // the end of what it wrote, for people
	Err    error  // why it did not exit by itself: not started, over its limit, ctx ended
}

// Exec runs a command and returns when it and its children have ended. When ctx ends, it ends them.
type Exec func(ctx context.Context, c Command) Result

// ScriptOptions configures a Script. Start from DefaultScriptOptions.
type ScriptOptions struct {
	Up, Down  string         // absolute paths
	Addresses []netip.Prefix // each is brought up or down by a run of its own
	Interface string
	Cluster   string
	Limit     time.Duration // of one run
	Retry     time.Duration // pause after the first failure; it doubles up to ten times that
	Clock     func() time.Duration
	Exec      Exec
	Report    func(supervisor.AddressReport) // called from one goroutine of Run; must not block
	Logger    *zap.Logger
}

// DefaultScriptOptions gives the options that have a default; Up, Down, Addresses, Interface, Cluster, Clock and Exec have none.
func DefaultScriptOptions() ScriptOptions {
	return ScriptOptions{
		Limit:  10 * time.Second,
		Retry:  time.Second,
		Report: func(supervisor.AddressReport) {},
		Logger: zap.NewNop(),
	}
}

func (o ScriptOptions) validate() error {
	errs := []error{validateGroup(o.Addresses, o.Interface, o.Cluster)}
	for what, path := range map[string]string{"up": o.Up, "down": o.Down} {
		if len(path) == 0 || path[0] != '/' {
			errs = append(errs, fmt.Errorf("%s script %q is no absolute path", what, path))
		}
	}
	if o.Limit <= 0 || o.Retry <= 0 {
		errs = append(errs, fmt.Errorf("limit %v and retry %v must be positive", o.Limit, o.Retry))
	}
	if o.Clock == nil || o.Exec == nil || o.Report == nil || o.Logger == nil {
		errs = append(errs, errors.New("clock, exec, report and logger must be given"))
	}
	return errors.Join(errs...)
}

// Script makes the service address follow the primary by running the operator's scripts.
//
// Arguments: up|down, address/prefix length, interface, role (primary for up, backup for down), epoch. The same is in the environment:
// UNDERSTUDY_VIP (without the prefix length), UNDERSTUDY_PREFIX (the length), UNDERSTUDY_INTERFACE, UNDERSTUDY_ROLE, UNDERSTUDY_EPOCH,
// UNDERSTUDY_CLUSTER. Exit code 0 means: the address is there (up), is not there (down). Anything else is tried again.
//
// One script runs at a time. When the desired state changes, a run that is no longer wanted is ended. A script must be able to run
// again when its work is done already: after every failure, a new epoch, and at every start (down).
type Script struct {
	opts  ScriptOptions
	box   *mailbox
	clean atomic.Bool // CleanUp succeeded, so Run needn't begin with the same

	doubted, running atomic.Bool // Repair was called and Run has not seen it yet; a script runs
}

// NewScript checks the options. It touches nothing.
func NewScript(opts ScriptOptions) (*Script, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("service address by script: %w", err)
	}
	opts.Logger = opts.Logger.Named("vip")
	return &Script{opts: opts, box: newMailbox()}, nil
}

// Fence is FenceNone: nothing but this process has the address taken down.
func (s *Script) Fence() supervisor.Fence { return supervisor.FenceNone }

// Announce does nothing: whoever puts the address up announces it.
func (s *Script) Announce() {}

// Set gives the newest desired state, like VIP.Set.
func (s *Script) Set(h supervisor.Hold) {
	if s.box.put(h) {
		s.box.knock()
	}
}

// Repair runs the script of the desired state again for every address. It never blocks. The pauses after failures hold.
func (s *Script) Repair() {
	s.doubted.Store(true)
	s.box.knock()
}

// Busy reports whether a script runs, or a Repair has not been begun yet.
func (s *Script) Busy() bool { return s.doubted.Load() || s.running.Load() }

// CleanUp runs the down script for every address, because an earlier process may have left it up.
func (s *Script) CleanUp(ctx context.Context) error {
	var errs []error
	for i := range s.opts.Addresses {
		errs = append(errs, s.exec(ctx, call{address: i}))
	}
	err := errors.Join(errs...)
	s.clean.Store(err == nil)
	return err
}

// Run carries out what Set demands until ctx ends; then it runs the down scripts, up to three times each, and returns. It fails if
// one of them still failed.
func (s *Script) Run(ctx context.Context) error {
	at := unknown
	if s.clean.Swap(false) {
		at = absent
	}
	m := newScriptMachine(len(s.opts.Addresses), s.opts.Retry, at)
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	cancel := context.CancelFunc(func() {})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for end := ctx.Done(); ; {
		if h, newest, ok := s.box.take(); ok {
			m.set(s.opts.Clock(), h, newest)
		}
		now := s.opts.Clock()
		if s.doubted.Load() {
			s.running.Store(true) // never neither, or Busy were wrong for a moment
			s.doubted.Store(false)
			m.doubt()
		}
		switch step := m.step(now); step.kind {
		case scriptRun:
			m.started(step.call)
			s.running.Store(true)
			running, stop := context.WithCancel(context.WithoutCancel(ctx)) // the last down scripts run after ctx has ended
			cancel = stop
			wg.Go(func() { defer stop(); ended <- s.exec(running, step.call) })
			continue
		case scriptCancel:
			m.cancelled()
			cancel()
			continue
		case scriptReport:
			s.tell(step.say)
			m.talk.told(step.say, step.reached)
			continue
		}
		if m.left() {
			return m.problem()
		}
		s.running.Store(m.running != nil)
		timer.Reset(min(m.wakeAt(now)-now, time.Hour))
		select {
		case <-s.box.wake:
		case <-timer.C:
		case err := <-ended:
			m.done(s.opts.Clock(), err)
		case <-end:
			end = nil
			m.leave()
		}
	}
}

// exec runs the script of a call to its end.
func (s *Script) exec(ctx context.Context, c call) error {
	verb, path, role := "down", s.opts.Down, supervisor.RoleBackup
	if c.up {
		verb, path, role = "up", s.opts.Up, supervisor.RolePrimary
	}
	p := s.opts.Addresses[c.address]
	epoch := strconv.FormatUint(uint64(c.epoch), 10)
	r := s.opts.Exec(ctx, Command{
		Argv: []string{path, verb, p.String(), s.opts.Interface, string(role), epoch},
		Env: []string{
			"UNDERSTUDY_VIP=" + p.Addr().String(),
			"UNDERSTUDY_PREFIX=" + strconv.Itoa(p.Bits()),
			"UNDERSTUDY_INTERFACE=" + s.opts.Interface,
			"UNDERSTUDY_ROLE=" + string(role),
			"UNDERSTUDY_EPOCH=" + epoch,
			"UNDERSTUDY_CLUSTER=" + s.opts.Cluster,
		},
		Limit: s.opts.Limit,
	})
	switch {
	case r.Err != nil:
		return fmt.Errorf("%s %s %s: %w", path, verb, p, r.Err)
	case r.Code != 0:
		return fmt.Errorf("%s %s %s: exit code %d: %.200q", path, verb, p, r.Code, r.Output)
	}
	return nil
}

func (s *Script) tell(r supervisor.AddressReport) {
	fields := []zap.Field{zap.Stringers("vip", s.opts.Addresses), zap.String("link", s.opts.Interface), zap.Uint64("term", uint64(r.Epoch))}
	switch {
	case r.Err != nil:
		s.opts.Logger.Error("address not as wanted", append(fields, zap.NamedError("err", r.Err))...)
	case r.Held:
		s.opts.Logger.Info("address held", fields...)
	default:
		s.opts.Logger.Info("address not held", fields...)
	}
	s.opts.Report(r)
}
