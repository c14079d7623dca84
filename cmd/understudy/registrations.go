package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/raftstore/bindings"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/supervisor/registrar"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// registrations keeps those of both members the same. It is nil where nobody is to.
type registrations struct {
	store   *bindings.Store
	sync    *registrar.Sync
	server  registrar.Server
	peer    supervisor.NodeID
	wire    bool // what the traffic shows counts
	primary atomic.Bool
	service []netip.Addr    // addresses that follow the primary
	roles   chan memberRole // has room for one: the newest
	took    chan struct{}   // has room for one: this member has become primary
	desk    *contactsDesk
	log     *zap.Logger
}

// sample is what monitoring is shown; nil where nobody keeps registrations.
func (g *registrations) sample() *status.Contacts {
	if g == nil {
		return nil
	}
	c := g.desk.known()
	return &c
}

func newRegistrations(s *Setup, log *zap.Logger) (*registrations, error) {
	if !s.keepsContacts() {
		return nil, nil
	}
	g := &registrations{log: log.Named("registrations"), wire: s.Contacts.Learn != "server", roles: make(chan memberRole, 1), took: make(chan struct{}, 1)}
	for _, p := range s.ServiceAddress.Addresses {
		g.service = append(g.service, p.Addr())
	}
	var self bindings.Author
	for _, v := range s.Voters() {
		if !v.Witness && v.ID != s.Self {
			g.peer = v.ID
		}
	}
	if g.peer < s.Self {
		self = 1
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("tell one start of the machine from another: %w", err)
	}
	if g.store, err = bindings.Open(bindings.Options{
		Self: self, Dir: filepath.Join(s.StateDir, "registrations"), Logger: log,
		Clock: bindings.Clock{Now: sinceStart, Wall: time.Now, Boot: strings.TrimSpace(string(boot))},
	}); err != nil {
		return nil, err
	}
	if g.server, err = newRegistrar(s, readSecret, log); err != nil {
		return nil, err
	}
	g.sync = registrar.NewSync(registrar.SyncOptions{
		Server: g.server, Table: &registrarTable{g.store, g.log}, Primary: g.primary.Load, Now: sinceStart, Logger: log,
	})
	g.desk = &contactsDesk{g: g, setup: s}
	return g, nil
}

// keepsContacts reports whether this node keeps registrations.
func (s *Setup) keepsContacts() bool { return !s.Me().Witness && s.Contacts.Server != noRegistrar }

// sinceStart is the time since the machine started, asleep or not.
func sinceStart() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // the clock is there
	return time.Duration(t.Nano())
}

// became tells the role.
func (g *registrations) became(b supervisor.Became) {
	if g == nil {
		return
	}
	primary := b.To.Role() == supervisor.RolePrimary
	g.primary.Store(primary)
	now := memberRole{b.Epoch, primary}
	for { // the core does not wait for a table; an older role that nobody has taken yet is of no use
		select {
		case g.roles <- now:
			return
		default:
		}
		select {
		case <-g.roles:
		default:
		}
	}
}

// memberRole is what the pair made of this member.
type memberRole struct {
	epoch   supervisor.Epoch
	primary bool
}

// follow tells the table the role.
func (g *registrations) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-g.roles:
			g.store.SetRole(r.epoch, r.primary)
			if !r.primary {
				continue
			}
			select {
			case g.took <- struct{}{}:
			default:
			}
		}
	}
}

// addressComes is how long a new primary may take to have the service address.
const addressComes = 100 * time.Millisecond

// reconnect makes the phones connect again that were connected to the other member, each time that this one has taken over.
func (g *registrations) reconnect(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.took:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(addressComes):
		}
		flows := g.flows()
		if len(flows) == 0 || !g.primary.Load() {
			continue
		}
		sent, err := registrar.Tickle(ctx, flows)
		g.log.Info("phones whose connections ended with the other member were told", zap.Int("phones", sent), zap.Error(err))
	}
}

// flows are the connections of phones to the service address that the other member's server accepted.
func (g *registrations) flows() []location.Flow {
	var flows []location.Flow
	own := g.store.Self()
	g.store.Walk(func(r bindings.Record) bool {
		for i := range r.Bindings {
			b := &r.Bindings[i]
			if b.Changed.Author() == own {
				continue
			}
			if f, ok := b.Flow(); ok && slices.Contains(g.service, f.Server.Addr().Unmap()) {
				flows = append(flows, f)
			}
		}
		return true
	})
	return flows
}

// learner is who is told of what the traffic shows; nil if nobody wants to know.
func (g *registrations) learner() func(location.Registration) {
	if g == nil || !g.wire {
		return nil
	}
	return g.sync.Seen
}

// serverDied takes note that this member's server has ended: it may have forgotten everything when it is back.
func (g *registrations) serverDied() {
	if g != nil {
		g.sync.ServerLost()
	}
}

// judge says whether the members have the same registrations, once a second. A difference counts when it lasts, as one that is being repaired
// does not.
func (g *registrations) judge(e *edges, self supervisor.NodeID) {
	if g == nil || !g.primary.Load() {
		return
	}
	st := g.store.Status()
	differs := st.Connected && st.Compared > 0 && len(st.Differing) > 0 && sinceStart()-st.Since > outOfSyncAfter
	e.level(differs, "contacts-out-of-sync", string(self),
		fmt.Sprintf("the members know different contacts: %d of %d buckets, for longer than %v", len(st.Differing), bindings.Buckets, outOfSyncAfter), "")
}

// outOfSyncAfter is how long the members may know different registrations without a word.
const outOfSyncAfter = 30 * time.Second

// serve speaks with the other member over a stream that it has opened.
func (g *registrations) serve(ctx context.Context, from supervisor.NodeID, conn net.Conn) {
	if from != g.peer {
		return
	}
	g.log.Info("stream of the other member ended", zap.String("peer", string(from)), zap.Error(g.store.Serve(ctx, conn)))
}

// start runs the parts.
func (g *registrations) start(parts *stages, raft *raftstore.Store) {
	if g == nil {
		return
	}
	parts.start("registrations", func(ctx context.Context) error {
		return g.store.Run(ctx, func(ctx context.Context) (net.Conn, error) { return raft.DialMember(ctx, g.peer) })
	})
	parts.start("role of the registrations", g.follow)
	parts.start("registrations of the server", g.sync.Run)
	parts.start("connections of phones", g.reconnect)
}

// registrarTable is the store as those see it who talk to servers.
type registrarTable struct {
	store *bindings.Store
	log   *zap.Logger
}

func (t *registrarTable) Set(aor string, now []location.Binding, callID string, cseq uint32) error {
	err := t.store.Set(aor, now, bindings.Cause{CallID: callID, CSeq: cseq})
	switch {
	case errors.Is(err, bindings.ErrBackup):
		return nil
	case errors.Is(err, bindings.ErrTooLarge): // trying again changes nothing
		t.log.Warn("registrations of an address of record are too many or too long to keep", zap.String("aor", location.Masked(aor)), zap.Int("contacts", len(now)))
		return nil
	}
	return err
}

func (t *registrarTable) Get(aor string) []location.Binding          { return t.store.Get(aor).Plain() }
func (t *registrarTable) Take(limit int) ([]string, <-chan struct{}) { return t.store.Take(limit) }
func (t *registrarTable) Pending(aor string) bool                    { return t.store.Pending(aor) }
func (t *registrarTable) TakeAll()                                   { t.store.TakeAll() }
