package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/supervisor/sipserver"
	"github.com/understudy-sip/understudy/vip"
)

// watchedAddress tells the monitor of the service address what the role wants, before the effector makes it so.
type watchedAddress struct {
	address
	monitor *vip.Monitor      // nil without the monitoring
	server  *sipserver.Server // this member's own
}

func (w *watchedAddress) Set(h supervisor.Hold) {
	if w.monitor != nil {
		w.monitor.Set(h)
	}
	w.address.Set(h)
}

// Announce comes when somebody misses answers. They may be late only, because the server is busy.
func (w *watchedAddress) Announce() {
	w.server.Look()
	w.address.Announce()
}

// addressWatch is sip-iptakeover-monitoring: whether the service address is where it should be, nowhere else, and known to be there.
type addressWatch struct {
	setup      *Setup
	log        *zap.Logger
	senses     *senses
	edges      *edges
	monitor    *vip.Monitor    // nil at a witness, and where the monitoring is off
	neighbours *vip.Neighbours // nil where this node is not on that network
}

func newAddressWatch(s *Setup, effector address, senses *senses, e *edges, log *zap.Logger) (*addressWatch, error) {
	w := &addressWatch{setup: s, log: log.Named("vip"), senses: senses, edges: e}
	link := s.Me().Interface
	if s.Me().Witness {
		link = linkOf(s.Me().SIPAddress)
	}
	if !s.SIPIPTakeover || link == "" {
		return w, nil
	}
	var err error
	w.neighbours, err = vip.NewNeighbours(vip.NeighboursOptions{Addresses: prefixes(s), Interface: link, Report: w.neighbour, Logger: log})
	if err != nil || s.Me().Witness {
		return w, err
	}
	o := vip.DefaultMonitorOptions()
	o.Addresses, o.Interface, o.Clock, o.Report, o.Logger = prefixes(s), link, raw.Clock, w.found, log
	o.Effector = effector.(vip.Effector)
	for _, v := range s.Voters() {
		if a := s.Nodes[v.ID].SIPAddress; v.ID != s.Self && !v.Witness && a.IsValid() {
			o.Peers = append(o.Peers, a)
		}
	}
	if w.monitor, err = vip.NewMonitor(o); err != nil {
		return nil, err
	}
	w.begin()
	return w, nil
}

// begin ends what an earlier run of this node may have raised: the monitor tells of trouble only.
func (w *addressWatch) begin() {
	me := string(w.setup.Self)
	w.edges.level(false, "vip-missing", me, "", "")
	w.edges.level(false, "vip-unexpected", me, "", "")
	w.edges.level(false, "actuator-not-converged", me, "", "")
	w.edges.level(false, "disk-slow", me, "", "")
	for _, p := range prefixes(w.setup) {
		w.edges.level(false, "dual-owner", me+" "+p.Addr().String(), "", "")
		w.edges.level(false, "vip-not-propagated", me+" "+p.Addr().String(), "", "")
	}
}

// linkOf is the interface that has an address now; empty if none has.
func linkOf(a netip.Addr) string {
	links, err := net.Interfaces()
	if err != nil || !a.IsValid() {
		return ""
	}
	for _, l := range links {
		addrs, _ := l.Addrs()
		for _, have := range addrs {
			if p, err := netip.ParsePrefix(have.String()); err == nil && p.Addr().Unmap() == a {
				return l.Name
			}
		}
	}
	return ""
}

// found turns what the monitor finds into reasons and alarms.
func (w *addressWatch) found(f vip.Finding) {
	w.log.Info("service address", zap.String("code", string(f.Kind)), zap.String("why", f.Text))
	me := string(w.setup.Self)
	at := me + " " + f.Address.String()
	switch f.Kind {
	case vip.KindMissing, vip.KindUnexpected:
		w.edges.level(f.Kind == vip.KindMissing, "vip-missing", me, f.Text, "")
		w.edges.level(f.Kind == vip.KindUnexpected, "vip-unexpected", me, f.Text, "")
	case vip.KindPersistent:
		w.senses.addressLost(true)
		w.edges.level(true, "actuator-not-converged", me, f.Text, "")
	case vip.KindRepaired, vip.KindVoid:
		w.senses.addressLost(false)
		w.edges.level(false, "vip-missing", me, "", "")
		w.edges.level(false, "vip-unexpected", me, "", "")
		w.edges.level(false, "actuator-not-converged", me, "", "")
	case vip.KindConflict, vip.KindConflictOver:
		w.edges.level(f.Kind == vip.KindConflict, "dual-owner", at, f.Text, f.MAC.String())
	case vip.KindNotPropagated, vip.KindNeighbourFine:
		w.edges.level(f.Kind == vip.KindNotPropagated, "vip-not-propagated", at, f.Text, f.MAC.String())
	case vip.KindStaleNeighbour: // healed, or else told as not propagated
	}
}

// neighbour is what this node's kernel believes about a service address; the primary learns it by the report.
func (w *addressWatch) neighbour(v vip.View) {
	n := supervisor.Neighbour{MAC: v.MAC.String(), FromMAC: v.FromMAC.String()}
	if v.From.IsValid() {
		n.From = v.From.String()
	}
	w.senses.neighbour(v.Address.String(), n)
}

// heard passes on what another node's kernel believes.
func (w *addressWatch) heard(r supervisor.Report) {
	if w.monitor == nil {
		return
	}
	for text, n := range r.Neighbours {
		v, err := viewOf(text, n)
		if err != nil {
			w.log.Debug("neighbour's view not understood", zap.String("peer", string(r.Node)), zap.Error(err))
			continue
		}
		w.monitor.Heard(v)
	}
}

func viewOf(address string, n supervisor.Neighbour) (v vip.View, err error) {
	if v.Address, err = netip.ParseAddr(address); err != nil {
		return v, fmt.Errorf("service address: %w", err)
	}
	if n.From != "" {
		if v.From, err = netip.ParseAddr(n.From); err != nil {
			return v, fmt.Errorf("its own address: %w", err)
		}
	}
	v.At = time.Now()
	return v, errors.Join(v.MAC.UnmarshalText([]byte(n.MAC)), v.FromMAC.UnmarshalText([]byte(n.FromMAC)))
}

// neighbour keeps one entry of what the kernel believes.
func (s *senses) neighbour(address string, n supervisor.Neighbour) {
	s.change(func() {
		next := maps.Clone(s.now.Neighbours)
		if next == nil {
			next = map[string]supervisor.Neighbour{}
		}
		next[address] = n
		s.now.Neighbours = next
	})
}

// addressLost: the service address is not as it should be, and repairs don't help.
func (s *senses) addressLost(lost bool) {
	s.change(func() {
		s.reason("address monitor", "")
		if lost {
			s.reason("address monitor", supervisor.ReasonAddress)
		}
	})
}
