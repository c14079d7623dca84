package main

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/oos"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/sipserver"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// Names of targets. Those of members are "member " and the node's name.
const (
	targetOwn     = "own"
	targetService = "service"
	targetMember  = "member "
)

// probes are this node's looks at SIP servers: a member's own, the other members', and the service address while it is elsewhere.
type probes struct {
	setup  *Setup
	senses *senses
	log    *zap.Logger
	prober *oos.Prober       // nil: a witness outside the SIP network
	own    *sipserver.Server // nil at a witness
	alarms serverConditions
	died   func() // the own server has ended, or looks like it

	mu    sync.Mutex
	last  sipserver.Status
	known bool
}

func newProbes(s *Setup, senses *senses, e *edges, died func(), log *zap.Logger) (*probes, error) {
	p := &probes{setup: s, senses: senses, log: log, died: died, alarms: serverConditions{edges: e, node: s.Self}}
	if !s.Me().SIPAddress.IsValid() {
		return p, nil
	}
	var err error
	if !s.Me().Witness {
		p.own, err = sipserver.New(sipserver.Options{
			Listen:  []sipserver.Socket{{Addr: p.at(s.Me().SIPAddress), Transport: string(s.SIPServer.Transport)}},
			Besides: p.besides(), Process: s.SIPServer.Process, HangAfter: time.Duration(s.SIPServer.HangAfter), Report: p.server, Logger: log,
		})
		if err != nil {
			return nil, err
		}
	}
	p.prober, err = oos.New(oos.Options{Targets: p.targets(true), Report: p.seen, Logger: log})
	return p, err
}

// besides are the sockets of a server that is bound to the service addresses one by one.
func (p *probes) besides() []sipserver.Socket {
	var list []sipserver.Socket
	for _, a := range p.setup.ServiceAddress.Addresses {
		list = append(list, sipserver.Socket{Addr: p.at(a.Addr()), Transport: string(p.setup.SIPServer.Transport)})
	}
	return list
}

func (p *probes) at(a netip.Addr) netip.AddrPort {
	return netip.AddrPortFrom(a, uint16(p.setup.SIPServer.Port)) //nolint:gosec // 1 to 65535, as the configuration was checked
}

// became follows the role: whoever holds the service address has nothing to learn from asking it.
func (p *probes) became(b supervisor.Became) {
	if p.prober == nil {
		return
	}
	if err := p.prober.SetTargets(p.targets(b.To.Role() != supervisor.RolePrimary)); err != nil {
		p.log.Error("probe targets", zap.Error(err))
	}
}

func (p *probes) targets(service bool) []oos.Target {
	s, me := p.setup, p.setup.Me()
	target := func(name string, to netip.Addr, every, silence time.Duration) oos.Target {
		t := oos.Target{
			Name: name, Addr: p.at(to), Transport: oos.Transport(s.SIPServer.Transport), Interval: every, Silence: silence, Rise: s.SIPServer.Rise,
		}
		if to.Is4() == me.SIPAddress.Is4() {
			t.From = me.SIPAddress
		}
		if t.Transport == oos.TLS {
			t.TLS = anyCertificate
		}
		return t
	}
	var ts []oos.Target
	if !me.Witness {
		ts = append(ts, target(targetOwn, me.SIPAddress, s.Timing.ProbeInterval, s.Timing.ProbeSilence))
	}
	for _, v := range s.Voters() {
		if v.ID != s.Self && !v.Witness {
			ts = append(ts, target(targetMember+string(v.ID), s.Nodes[v.ID].SIPAddress, 4*s.Timing.VantageEvery, 4*s.Timing.VantageSilence))
		}
	}
	if service {
		ts = append(ts, target(targetService, s.ServiceAddress.Addresses[0].Addr(), s.Timing.VantageEvery, s.Timing.VantageSilence))
	}
	return ts
}

// anyCertificate: a probe asks whether a server answers. It tells it nothing and believes nothing else, so it needs no proof of its name.
var anyCertificate = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above

func (p *probes) seen(name string, v supervisor.View) {
	switch name {
	case targetOwn:
		p.own.Probed(v, oos.Refused(v))
	case targetService:
		p.senses.service(v)
	default:
		p.senses.member(supervisor.NodeID(name[len(targetMember):]), v)
	}
}

// socket is where the own SIP server listens; nil before anything is known.
func (p *probes) socket() *status.Socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return nil
	}
	st := p.last
	s := &status.Socket{
		ReceiveQueue: st.Queue.Unread, ReceiveBuffer: st.Queue.Buffer, Drops: st.Queue.Drops, Backlog: st.Queue.Backlog,
		Listening: st.Outage.Missing == "",
	}
	if !s.Listening {
		s.MissingMS = time.Since(st.Outage.Since).Milliseconds()
	}
	return s
}

// server is what is known of this member's own server. Where something is wrong, people read the evidence rather than the last answer.
func (p *probes) server(st sipserver.Status) {
	p.mu.Lock()
	p.last, p.known = st, true
	p.mu.Unlock()
	p.alarms.is(st)
	if st.Reason != "" && st.Text != "" {
		st.View.Text = st.Text
	}
	if st.Reason != "" {
		p.died()
	}
	st.View.Busy = st.Busy
	var deaf time.Duration
	if st.Reason == supervisor.ReasonListener {
		deaf = clock().Mono - time.Since(st.Outage.Since)
	}
	p.senses.server(st.View, st.Reason, deaf)
}
