package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// NeighboursOptions configures a Neighbours.
type NeighboursOptions struct {
	Addresses []netip.Prefix
	Interface string
	Report    func(View) // called from one goroutine of Run; must not block
	Logger    *zap.Logger
}

// Neighbours watches what this host's kernel has in its neighbour table for the service addresses. A member runs it for its time as
// backup, and the witness if it is on the same network.
//
// It tells a view of each address at the start, and one when its MAC changes, appears or disappears; not when the kernel merely
// begins to doubt one. It sends nothing, except when asked to.
type Neighbours struct {
	o    NeighboursOptions
	wake chan struct{} // holds one token while somebody waits for Ask

	mu    sync.Mutex
	views map[netip.Addr]View
}

// NewNeighbours checks the options. It touches nothing.
func NewNeighbours(o NeighboursOptions) (*Neighbours, error) {
	err := errors.Join(validateAddresses(o.Addresses), validateLink(o.Interface))
	if o.Report == nil || o.Logger == nil {
		err = errors.Join(err, errors.New("report and logger must be given"))
	}
	if err != nil {
		return nil, fmt.Errorf("neighbours' view of the service address: %w", err)
	}
	o.Logger = o.Logger.Named("vip")
	return &Neighbours{o: o, wake: make(chan struct{}, 1), views: map[netip.Addr]View{}}, nil
}

// Views gives the newest view of each address, in the order of the options. It is empty before Run.
func (n *Neighbours) Views() []View {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []View
	for _, p := range n.o.Addresses {
		if v, ok := n.views[p.Addr()]; ok {
			all = append(all, v)
		}
	}
	return all
}

// Ask has the kernel resolve the addresses it has no fresh MAC for, by its own ARP and neighbour discovery. The result is a View like
// any other. It never blocks.
func (n *Neighbours) Ask() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// looking is a Neighbours at work.
type looking struct {
	*Neighbours
	addrs  *addresses
	events *os.File
	survey survey
}

// lookPause is the pause between two looks at the whole table when events are lost, as during a scan of the network.
const lookPause = time.Second

// Run watches until ctx ends. It opens its sockets in the network namespace of the calling thread.
func (n *Neighbours) Run(ctx context.Context) error {
	l := &looking{Neighbours: n}
	var err error
	if l.addrs, err = openAddresses(n.o.Interface, n.o.Addresses, false); err != nil {
		return err
	}
	defer l.addrs.close()
	if l.events, err = subscribe(unix.RTMGRP_NEIGH | unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR); err != nil {
		return fmt.Errorf("subscribe to neighbour events: %w", err)
	}
	seen, done, failed := make(chan happening, 64), make(chan struct{}), make(chan error, 1)
	pass := func(h happening) {
		select {
		case seen <- h:
		case <-done:
		}
	}
	see := func(m syscall.NetlinkMessage) {
		if h, ok := parseEvent(m); ok && l.concerns(h) {
			pass(h)
		}
	}
	go func() { failed <- readEvents(l.events, see, func() { pass(happening{kind: eventsLost}) }) }()
	err = l.loop(ctx, seen, failed)
	close(done)
	closeErr := l.events.Close()
	if err == nil {
		err = <-failed
	}
	return errors.Join(err, closeErr)
}

func (l *looking) loop(ctx context.Context, seen <-chan happening, failed <-chan error) error {
	l.look()
	looked, again := time.Now(), (<-chan time.Time)(nil)
	for {
		lost := false
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("read neighbour events: %w", err)
		case <-l.wake:
			l.ask()
		case h := <-seen:
			lost = l.event(h)
		case <-again:
			again, looked = nil, time.Now()
			l.look()
		}
		if lost && again == nil {
			again = time.After(lookPause - time.Since(looked))
		}
	}
}

// concerns reports whether an event may be about us. It may be called by any goroutine.
func (l *looking) concerns(h happening) bool {
	switch h.kind {
	case addressChanged:
		return !l.ours(h.address.address)
	case linkChanged:
		return h.link == l.o.Interface
	case neighbourChanged:
		return l.ours(h.neighbour.address)
	}
	return true
}

// event takes an event and reports whether the whole has to be looked at anew: some were lost, or the interface or its own address has
// changed.
func (l *looking) event(h happening) bool {
	switch h.kind {
	case neighbourChanged:
		if h.neighbour.link == l.survey.link.index {
			l.found(h.neighbour)
		}
		return false
	case addressChanged:
		e, source := h.address, l.survey.source[h.address.address.Is6()]
		return e.link == l.survey.link.index && (e.there && !source.IsValid() || !e.there && source == e.address)
	}
	return true
}

func (l *looking) ours(a netip.Addr) bool {
	for _, p := range l.o.Addresses {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// look takes the whole table.
func (l *looking) look() {
	s, err := l.addrs.survey()
	if err == nil {
		l.survey = s
	}
	all, neighErr := l.addrs.neighbours()
	if err := errors.Join(err, neighErr); err != nil {
		l.o.Logger.Warn("neighbours not looked at", zap.String("link", l.o.Interface), zap.NamedError("err", err))
		return
	}
	for _, p := range l.o.Addresses {
		now := neighbour{address: p.Addr(), state: "none"}
		for _, n := range all {
			if n.address == p.Addr() && n.link == s.link.index {
				now = n
			}
		}
		l.found(now)
	}
}

// found tells of an entry if that is new.
func (l *looking) found(n neighbour) {
	v := View{
		Address: n.address, MAC: n.mac, State: n.state, At: time.Now(),
		From: l.survey.source[n.address.Is6()], FromMAC: macOf(l.survey.link.mac),
	}
	l.mu.Lock()
	old, known := l.views[v.Address]
	if known && old.MAC == v.MAC && old.From == v.From && old.FromMAC == v.FromMAC {
		v.At = old.At
		l.views[v.Address] = v
		l.mu.Unlock()
		return
	}
	l.views[v.Address] = v
	l.mu.Unlock()
	l.o.Report(v)
}

// ask has the kernel resolve what it has no fresh MAC for.
func (l *looking) ask() {
	for _, p := range l.o.Addresses {
		err := l.addrs.handle.NeighSet(&netlink.Neigh{LinkIndex: l.survey.link.index, IP: p.Addr().AsSlice(), Flags: netlink.NTF_USE})
		if err != nil {
			l.o.Logger.Debug("neighbour not asked for", zap.Stringer("vip", p.Addr()), zap.NamedError("err", err))
		}
	}
}
