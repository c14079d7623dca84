package main

import (
	"time"

	"github.com/understudy-sip/understudy/oos/device"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// facts adds to the status what this node's own sensors know.
func (n *node) facts(in *status.Input) {
	list := n.alarms.List()
	in.Alarms, in.PendingAlarms = list.Active, list.Pending
	if n.setup.Me().Witness {
		return
	}
	up := n.senses.holds()
	in.AddressUp = &up
	in.Devices = n.devices.facts()
	in.Traffic = n.traffic.facts()
	for _, s := range n.nics.states() {
		nic := status.NIC{Name: s.Name, Link: s.Link, Up: s.Up, Flapping: s.Flapping, Text: s.Text}
		if s.Address.IsValid() {
			nic.Address = s.Address.String()
		}
		if !s.Since.IsZero() {
			nic.Since = &s.Since
		}
		in.NICs = append(in.NICs, nic)
	}
	in.Socket = n.probes.socket()
}

// facts are all devices, those that nobody asks included.
func (d *devices) facts() []status.Device {
	if d.checker == nil {
		return nil
	}
	var all []status.Device
	for _, v := range d.checker.Verdicts() {
		c := d.setup.Devices[v.Device]
		one := status.Device{
			Name: v.Device, URI: c.URI.String(), State: status.DeviceState(v.State), Confirmed: v.Confirmed, Code: v.Code,
			RTTMS: float64(v.RTT) / float64(time.Millisecond), Text: v.Text,
		}
		if !v.Since.IsZero() {
			one.Since = &v.Since
		}
		if v.State == device.InService && (c.Check == 0 || !d.primary.Load()) {
			one.State = status.DeviceUnchecked
		}
		all = append(all, one)
	}
	return all
}

func (w *observed) facts() *status.Traffic {
	now, s := raw.Clock(), w.monitor.Snapshot()
	ago := func(at time.Duration) int64 {
		if at == 0 {
			return -1
		}
		return max(0, now-at).Milliseconds()
	}
	t := &status.Traffic{
		LastInMS: ago(s.LastIn), LastOutMS: ago(s.LastOut), Unanswered: s.Unanswered, ParseErrors: s.ParseErrors, Dropped: s.Dropped,
		Source: status.SourceCapture,
	}
	if !s.Capturing && w.setup.Traffic.HEP.IsValid() {
		t.Source = status.SourceHEP
	}
	if ratio, ok := s.AnswerRatio(); ok {
		t.AnswerRatio = &ratio
	}
	t.InPerS, t.OutPerS = w.pace.rates()
	return t
}

// silenceFacts is where the rule about silence stands, by the core.
func silenceFacts(s supervisor.SilenceStatus) *status.Silence {
	return &status.Silence{
		Watched: s.Watched, PeriodMS: s.Period.Milliseconds(), Factor: s.Factor, QuietMS: s.Quiet.Milliseconds(), AllOut: s.AllOut,
	}
}
