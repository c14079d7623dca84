package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/supervisor/sipserver"
	"github.com/understudy-sip/understudy/traffic"
)

// How often the observer is asked. Silence is judged to the tenth of a second once it may matter.
const (
	trafficEvery = time.Second
	trafficSoon  = 100 * time.Millisecond
)

// observed is the SIP traffic of a member, and what follows from it for the core and for the judgement of its own server.
type observed struct {
	setup   *Setup
	monitor *traffic.Monitor // nil at a witness
	devices *devices
	senses  *senses
	own     *sipserver.Server

	last traffic.Stats
	pace pace
}

func newObserved(s *Setup, d *devices, senses *senses, own *sipserver.Server, registered func(location.Registration), log *zap.Logger) (*observed, error) {
	w := &observed{setup: s, devices: d, senses: senses, own: own}
	if s.Me().Witness {
		return w, nil
	}
	o := trafficOptions(s)
	o.OnMessage, o.Registered, o.Logger = d.heard, registered, log
	o.Report = func(e traffic.Event) {
		switch e.Kind {
		case traffic.CaptureBroke:
			log.Warn("SIP traffic is not seen", zap.String("link", e.Source), zap.Error(e.Err))
		case traffic.CaptureBack:
			log.Info("SIP traffic is seen", zap.String("link", e.Source))
		case traffic.Heard:
			log.Info("SIP traffic after silence", zap.Duration("took", e.After))
		}
	}
	var err error
	if w.monitor, err = traffic.New(o); err != nil {
		return nil, fmt.Errorf("watch the SIP traffic: %w", err)
	}
	return w, nil
}

// trafficOptions are what a member's configuration says of what to watch.
func trafficOptions(s *Setup) traffic.Options {
	o := traffic.DefaultOptions()
	o.Interfaces = []string{s.Me().Interface} // not lo: what this host says to itself, such as its own probes, proves nothing
	o.Addresses = []netip.Addr{s.Me().SIPAddress}
	for _, p := range s.ServiceAddress.Addresses {
		o.Service = append(o.Service, p.Addr())
	}
	o.Addresses = append(o.Addresses, o.Service...)
	for _, v := range s.Voters() {
		if a := s.Nodes[v.ID].SIPAddress; v.ID != s.Self && a.IsValid() {
			o.Pair = append(o.Pair, a)
		}
	}
	o.Ports, o.TLSPorts, o.WSPorts = ports(s.Traffic.Ports), ports(s.Traffic.TLSPorts), ports(s.Traffic.WSPorts)
	port := uint16(s.SIPServer.Port) //nolint:gosec // checked
	switch {
	case slices.Contains(slices.Concat(o.Ports, o.TLSPorts, o.WSPorts), port):
	case s.SIPServer.Transport == "tls":
		o.TLSPorts = append(o.TLSPorts, port)
	default:
		o.Ports = append(o.Ports, port)
	}
	o.HEP, o.Patience = s.Traffic.HEP.AddrPort, time.Duration(s.Traffic.Unanswered)
	return o
}

func ports(list []int) []uint16 {
	out := make([]uint16, len(list))
	for i, p := range list {
		out[i] = uint16(p) //nolint:gosec // checked
	}
	return out
}

// Run passes on what the observer has seen until ctx ends.
func (w *observed) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		w.pass()
		next := trafficEvery
		if w.devices.allOut() {
			next = trafficSoon
		}
		timer.Reset(next)
	}
}

func (w *observed) pass() {
	now, s := raw.Clock(), w.monitor.Snapshot()
	last := w.last
	w.last = s
	w.devices.timeOut(now)
	w.pace.add(time.Now(), s.In.Total(), s.Out.Total())
	answered := s.AnsweredAll - last.AnsweredAll
	facts := sipserver.TrafficFacts{ //nolint:gosec // of one second
		Requests: int(answered + s.UnansweredAll - last.UnansweredAll), Answered: int(answered), Unavailable: int(s.Unavailable - last.Unavailable),
	}
	if s.LastAnswer > last.LastAnswer {
		facts.LastAnswer = time.Now().Add(s.LastAnswer - now)
	}
	if s.LastServed > last.LastServed {
		facts.LastServed = time.Now().Add(s.LastServed - now)
	}
	if facts != (sipserver.TrafficFacts{}) {
		w.own.Traffic(facts)
	}
	if w.setup.SIPPassCheck {
		w.senses.traffic(supervisor.Traffic{
			Watched: w.devices.period > 0 && s.Capturing, Period: w.devices.period, AllOut: w.devices.allOut(), Heard: s.LastIn, At: now,
		})
	}
}
