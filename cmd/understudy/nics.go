package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/nic"
	"github.com/understudy-sip/understudy/supervisor"
)

// Names of the monitored interfaces.
const (
	nicTLib    = "tlib-nic"    // that of the node's own address
	nicSIP     = "sip-nic"     // that of sip-nic-address
	nicService = "service-nic" // where the service address is put up
)

// nics are the interfaces that a member needs, each with the reason that it is when it fails.
type nics struct {
	watcher *nic.Watcher
	log     *zap.Logger
	senses  *senses
	edges   *edges
	node    supervisor.NodeID

	mu    sync.Mutex
	state map[string]nic.State
}

func newNICs(s *Setup, senses *senses, e *edges, log *zap.Logger) (*nics, error) {
	n := &nics{log: log, senses: senses, edges: e, node: s.Self, state: map[string]nic.State{}}
	var err error
	n.watcher, err = nic.New(nic.Options{Monitors: monitors(s), Report: n.is, ReportGateway: n.gateway, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("watch the interfaces: %w", err)
	}
	return n, nil
}

// monitors are the interfaces of a member that are watched.
func monitors(s *Setup) []nic.Monitor {
	me := s.Me()
	var list []nic.Monitor
	add := func(name, link string, address netip.Addr) {
		m := nic.DefaultMonitor()
		m.Name, m.Link, m.Address = name, link, address
		m.DebounceDown, m.DebounceUp = time.Duration(s.NIC.DownDelay), time.Duration(s.NIC.Settle)
		list = append(list, m)
	}
	add(nicService, me.Interface, netip.Addr{})
	if s.SIPNIC {
		address := me.SIPNIC
		if !address.IsValid() {
			address = me.SIPAddress
		}
		add(nicSIP, "", address)
		last := &list[len(list)-1]
		if g := s.NIC.Gateway; g.IsValid() {
			last.Gateway, last.GatewayPeriod, last.GatewayFall = g, time.Duration(s.NIC.GatewayEvery), s.NIC.GatewayFall
		}
	}
	if s.TLibNIC {
		add(nicTLib, "", me.Address.Addr())
	}
	return list
}

func (n *nics) is(s nic.State) {
	n.log.Info("interface", zap.String("target", s.Name), zap.String("link", s.Link), zap.String("why", s.Text))
	n.mu.Lock()
	n.state[s.Name] = s
	n.mu.Unlock()
	reason := supervisor.ReasonSIPNIC
	if s.Name == nicTLib {
		reason = supervisor.ReasonNIC
	}
	n.senses.nic(s.Name, reason, s.Up)
	n.edges.state(!s.Up || s.Flapping, "nic-down", string(n.node)+" "+s.Name, s.Text, "")
}

func (n *nics) gateway(g nic.Gateway) {
	n.log.Info("gateway", zap.String("target", g.Name), zap.String("link", g.Link), zap.String("why", g.Text))
	if g.Reach != nic.ReachUnknown {
		n.edges.level(g.Reach == nic.ReachSilent, "gateway-silent", string(n.node)+" "+g.Address.String(), g.Text, "")
	}
}

// states are the interfaces by name.
func (n *nics) states() []nic.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.state), func(a, b nic.State) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
}
