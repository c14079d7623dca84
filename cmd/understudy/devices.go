package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/oos/device"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/hook"
	"github.com/understudy-sip/understudy/traffic"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// devices are the service devices that the primary checks. Without any, its checker is nil.
type devices struct {
	setup   *Setup
	log     *zap.Logger
	edges   *edges
	hooks   *hook.Queue
	checker *device.Checker
	period  time.Duration
	primary atomic.Bool
	invites *invites
}

func newDevices(s *Setup, e *edges, hooks *hook.Queue, log *zap.Logger) (*devices, error) {
	d := &devices{setup: s, log: log.Named("devices"), edges: e, hooks: hooks, invites: newInvites()}
	if s.Me().Witness || len(s.Devices) == 0 {
		return d, nil
	}
	o := device.DefaultOptions()
	var codes []string
	for _, c := range s.OOSAnswers {
		codes = append(codes, string(c))
	}
	var err error
	if o.Positive, err = device.ParseAnswers(codes...); err != nil {
		return nil, err
	}
	o.Source, o.Report, o.TLS, o.Logger = d.source, d.verdict, anyCertificate, log
	for _, name := range slices.Sorted(maps.Keys(s.Devices)) {
		one := deviceOf(name, s.Devices[name])
		if err := logIn(&one, s.Devices[name], s.Self); err != nil {
			return nil, err
		}
		o.Devices = append(o.Devices, one)
	}
	d.period = device.Period(o.Devices)
	d.checker, err = device.New(o)
	return d, err
}

func deviceOf(name string, c Device) device.Device {
	return device.Device{
		Name: name, URI: c.URI.String(), Check: time.Duration(c.Check), Force: time.Duration(c.Force), Recovery: time.Duration(c.Recovery),
		MaxForwards: c.MaxForwards,
	}
}

// logIn adds the credentials, which are in a file of their own.
func logIn(d *device.Device, c Device, self supervisor.NodeID) error {
	if c.User == "" {
		return nil
	}
	secret, err := os.ReadFile(forNode(c.Password, self))
	if err != nil {
		return fmt.Errorf("device %s: read its password: %w", d.Name, err)
	}
	d.Credentials = &device.Credentials{User: c.User, Password: strings.TrimRight(string(secret), "\r\n")}
	return nil
}

// source is the service address where this node holds it: devices see one pair, and let one address in.
func (d *devices) source() netip.Addr {
	if !d.primary.Load() || d.setup.ServiceAddress.ControlVIPScripts {
		return netip.Addr{}
	}
	return d.setup.ServiceAddress.Addresses[0].Addr()
}

// became follows the role: only the primary checks devices.
func (d *devices) became(b supervisor.Became) {
	primary := b.To.Role() == supervisor.RolePrimary
	if d.checker != nil && d.primary.Swap(primary) != primary {
		d.checker.SetActive(primary)
	}
}

func (d *devices) verdict(v device.Verdict) {
	out := v.State != device.InService
	d.log.Info("device", zap.String("target", v.Device), zap.String("to", string(v.State)), zap.String("why", v.Text))
	d.edges.level(out, "device-out-of-service", v.Device, v.Device+": "+v.Text, "")
	event := "device-in-service"
	if out {
		event = "device-out-of-service"
	}
	if out || v.Confirmed {
		d.hooks.Notify(hook.Event{
			Event: event, Node: d.setup.Self, Cluster: d.setup.Cluster, Role: supervisor.RolePrimary, Primary: d.setup.Self,
			Object: v.Device, Why: v.Text, At: time.Now(),
		})
	}
}

// heard passes on what the observer saw of a device.
func (d *devices) heard(m *sip.Message, at traffic.Meta) {
	if d.checker == nil {
		return
	}
	if !at.In {
		if m.Request && string(m.Method) == "INVITE" {
			d.invites.sent(m.TopViaBranch(), at.To, at.At)
		}
		return
	}
	if !m.Request {
		d.invites.answered(m.TopViaBranch())
	}
	h := device.Hint{From: at.From, Kind: device.Message}
	switch {
	case m.Request && string(m.Method) == "REGISTER":
		h.Kind = device.Register
	case !m.Request && m.Status == 503:
		h.Kind = device.Unavailable
		if after, ok := m.RetryAfter(); ok {
			h.RetryAfter = time.Duration(after) * time.Second
		}
	}
	d.checker.Heard(h)
}

// timeOut tells of the devices that left an INVITE unanswered.
func (d *devices) timeOut(now time.Duration) {
	for _, to := range d.invites.expired(now) {
		d.checker.Heard(device.Hint{From: to, Kind: device.Timeout})
	}
}

func (d *devices) allOut() bool { return d.checker != nil && d.checker.AllOut() }
