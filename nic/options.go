package nic

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Options say which interfaces to watch and whom to tell.
type Options struct {
	Monitors      []Monitor
	Report        func(State)   // from the goroutine of Run; must not block
	ReportGateway func(Gateway) // the same; needed if a monitor has a gateway
	Logger        *zap.Logger
}

// Monitor is one interface to watch: that of this name, the one that carries an address, or one of a name that must carry an address.
// An interface that is named may lose and get back its name, one that is known by its address may change.
type Monitor struct {
	Name    string     // what reports call it, such as "sip-nic"; by default the link's name or the address
	Link    string     // name or alternative name of the interface
	Address netip.Addr // that it must carry; IPv6 without zone

	// DebounceDown is for how long it must lack its carrier before it counts as down, by default 20 ms; 0 means at once. However often it
	// flaps, what is shorter doesn't count. Whatever else is wrong with an interface counts at once.
	DebounceDown time.Duration
	// DebounceUp is for how long an interface that flaps, which is to say changed three times within ten seconds, must have been up
	// before it counts as up. One that flaps again within ten seconds of that must be up for twice as long, and so on up to ten
	// seconds, so that also a slow flapping doesn't get through. By default 2 s; 0: flapping is not damped. An interface that doesn't
	// flap counts as up at once.
	DebounceUp time.Duration

	// Gateway is asked for its hardware address once per GatewayPeriod while the interface is up. One that doesn't answer is asked
	// four times as often, in turns at its last known hardware address and everywhere; it is silent after GatewayFall periods without
	// an answer, and answering after one answer. Whatever else proves that it is there counts as an answer, as any ARP packet of its.
	// By default there is none; the period is 1 s (at least 20 ms) and the fall 3.
	Gateway       netip.Addr
	GatewayPeriod time.Duration
	GatewayFall   int
}

// DefaultMonitor gives the defaults; link, address or both are still to be named.
func DefaultMonitor() Monitor {
	return Monitor{DebounceDown: 20 * time.Millisecond, DebounceUp: 2 * time.Second, GatewayPeriod: time.Second, GatewayFall: 3}
}

const (
	minGatewayPeriod = 20 * time.Millisecond
	maxNameLength    = 127 // ALTIFNAMSIZ, without its end
)

// Validate names everything that is wrong with the monitors.
func (o Options) Validate() error {
	_, err := o.monitors()
	return err
}

// monitors gives all monitors with their names, or an error for every wrong setting.
func (o Options) monitors() ([]Monitor, error) {
	all := append([]Monitor(nil), o.Monitors...)
	if len(all) == 0 {
		return nil, errors.New("no interface to watch")
	}
	var wrong []error
	names := map[string]bool{}
	for i := range all {
		m := &all[i]
		m.Address, m.Gateway = m.Address.Unmap(), m.Gateway.Unmap()
		if err := m.check(); err != nil {
			wrong = append(wrong, fmt.Errorf("monitor %d: %w", i, err))
			continue
		}
		if m.Name == "" {
			m.Name = m.Link
		}
		if m.Name == "" {
			m.Name = m.Address.String()
		}
		if names[m.Name] {
			wrong = append(wrong, fmt.Errorf("two monitors are called %s", m.Name))
		}
		names[m.Name] = true
		if m.Gateway.IsValid() && o.ReportGateway == nil {
			wrong = append(wrong, fmt.Errorf("monitor %s: nobody to tell of its gateway", m.Name))
		}
	}
	return all, errors.Join(wrong...)
}

func (m *Monitor) check() error {
	var wrong []error
	if m.Link == "" && !m.Address.IsValid() {
		wrong = append(wrong, errors.New("neither link nor address is named"))
	}
	if len(m.Link) > maxNameLength {
		wrong = append(wrong, fmt.Errorf("link name %q is too long", m.Link))
	}
	for what, a := range map[string]netip.Addr{"address": m.Address, "gateway": m.Gateway} {
		if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Zone() != "") {
			wrong = append(wrong, fmt.Errorf("%s %s: want a unicast address without zone", what, a))
		}
	}
	if m.DebounceDown < 0 || m.DebounceUp < 0 {
		wrong = append(wrong, errors.New("a debounce is negative"))
	}
	if !m.Gateway.IsValid() {
		return errors.Join(wrong...)
	}
	if m.Gateway == m.Address {
		wrong = append(wrong, fmt.Errorf("gateway %s is the interface's own address", m.Gateway))
	}
	if m.GatewayPeriod < minGatewayPeriod {
		wrong = append(wrong, fmt.Errorf("gateway period %v: want at least %v", m.GatewayPeriod, minGatewayPeriod))
	}
	if m.GatewayFall < 1 {
		wrong = append(wrong, fmt.Errorf("gateway fall %d: want at least 1", m.GatewayFall))
	}
	return errors.Join(wrong...)
}
