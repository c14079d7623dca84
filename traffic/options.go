package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// Options say what to watch and whom to tell. Start from DefaultOptions.
type Options struct {
	// Interfaces are those that own the addresses, and lo for what the host sends to itself. A packet is seen once on each that it passes:
	// name a bond, bridge or VLAN or what it is made of, not both.
	Interfaces []string
	// Addresses are the member's SIP address and the service addresses. What neither comes from one nor goes to one is not looked at.
	Addresses []netip.Addr
	// Pair are the addresses of the pair's other nodes. Their OPTIONS and their servers' answers to ours prove nothing about the network
	// that phones and trunks are on: they are counted apart.
	Pair []netip.Addr
	// Service are those of Addresses that are the pair's, not the member's.
	Service []netip.Addr
	// Ports are those of SIP over UDP and TCP, of the server and of what it connects to. TLS and WebSocket are recognised there, too.
	Ports    []uint16
	TLSPorts []uint16 // SIP over TLS, and WebSocket over TLS: only records are seen
	WSPorts  []uint16 // SIP over WebSocket
	// HEP is where to listen for HEP version 3, over UDP; the zero value for nowhere. Whoever can send there is believed. What the
	// interfaces show as well is not counted a second time.
	HEP netip.AddrPort

	Patience time.Duration // a request without an answer for so long is unanswered
	Silence  time.Duration // the first message that comes after so long without one is reported

	Report func(Event) // called from one goroutine of Run; must not block
	// OnMessage is shown every message, from one goroutine of Run; must not block. Message and what it points to are valid during the
	// call only.
	OnMessage func(*sip.Message, Meta)
	// Registered is told of each REGISTER from the network that the server of this host accepted, in the order of the answers, from one
	// goroutine of Run; must not block. Without it nothing is done for it. What the host sends to itself is left out: its own writing to the
	// server, too, goes that way.
	Registered func(location.Registration)
	Logger     *zap.Logger
}

// DefaultOptions gives the options that have a default; what to watch has none, apart from the ports of RFC 3261.
func DefaultOptions() Options {
	return Options{
		Ports: []uint16{5060}, TLSPorts: []uint16{5061},
		Patience: 3 * time.Second, Silence: 5 * time.Second,
		Report: func(Event) {}, OnMessage: func(*sip.Message, Meta) {}, Logger: zap.NewNop(),
	}
}

// Bounds of the filter in the kernel.
const (
	maxAddresses = 32
	maxPorts     = 64
)

// Validate names everything that is wrong.
func (o Options) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Interfaces) == 0 && !o.HEP.IsValid() {
		add("neither an interface nor an address for HEP is given")
	}
	for i, name := range o.Interfaces {
		if name == "" || len(name) > 15 {
			add("interface name %q must have 1 to 15 octets", name)
		}
		if slices.Contains(o.Interfaces[:i], name) {
			add("interface %s is given twice", name)
		}
	}
	if len(o.Addresses) == 0 || len(o.Addresses) > maxAddresses {
		add("%d addresses are given, not 1 to %d", len(o.Addresses), maxAddresses)
	}
	for _, a := range o.Addresses {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			add("address %v can't belong to a host", a)
		}
	}
	errs = append(errs, o.validatePorts()...)
	if o.HEP.IsValid() && o.HEP.Port() == 0 {
		add("the address for HEP has no port")
	}
	if o.Patience < 100*time.Millisecond || o.Patience > requestLife {
		add("patience of %v is not between 100ms and %v", o.Patience, requestLife)
	}
	if o.Silence <= 0 {
		add("silence of %v is not above 0", o.Silence)
	}
	if o.Report == nil || o.OnMessage == nil || o.Logger == nil {
		add("report, observer and logger must be given")
	}
	return errors.Join(errs...)
}

func (o Options) validatePorts() (errs []error) {
	all := o.ports()
	if len(all) == 0 || len(all) > maxPorts {
		errs = append(errs, fmt.Errorf("%d ports are given, not 1 to %d", len(all), maxPorts))
	}
	for i, p := range all {
		if p == 0 || slices.Contains(all[:i], p) {
			errs = append(errs, fmt.Errorf("port %d is given twice or is none", p))
		}
	}
	return errs
}

func (o Options) ports() []uint16 { return slices.Concat(o.Ports, o.TLSPorts, o.WSPorts) }
