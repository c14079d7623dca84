package device

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Transport is how a device is spoken to.
type Transport string

// The transports.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// What a device has that does not say otherwise, and the bounds.
const (
	DefaultForce       = 5 * time.Second
	DefaultMaxForwards = 70

	longestCheck    = 300 * time.Second
	longestForce    = 32 * time.Second
	longestRecovery = 86400 * time.Second
	shortest        = 100 * time.Millisecond
)

// Credentials answer a challenge of the device (RFC 3261 22).
type Credentials struct{ User, Password string }

// Device is a SIP device.
type Device struct {
	Name string // names it in verdicts; unique
	// URI is asked: sip:user@host:port;transport=tcp or sips:host. Its user may be missing. Without a port it is 5060, with TLS 5061; a
	// host name is looked up by its addresses (no SRV records).
	URI         string
	Addr        string        // where to send, as host:port; empty: the URI's host and port
	Transport   Transport     // empty: the URI's
	Check       time.Duration // oos-check: between two probes, up to 300 s; 0: not probed
	Force       time.Duration // oos-force: what a probe may take, and between two while out of service, up to 32 s; 0: DefaultForce
	Recovery    time.Duration // recovery-timeout: after a failed request, up to 24 h; 0: a failed request means nothing
	MaxForwards int           // oos-options-max-forwards: 0 to 255; DefaultMaxForwards is not filled in, because 0 has a meaning
	Credentials *Credentials  // nil: a challenge is an answer like any other
}

// Period is the longest time that may pass between the last message from the devices and the verdict on each of them: the largest sum of
// oos-check and oos-force, the latter being at least 5 s here, over the devices that are probed. It is 0 if none is.
func Period(devices []Device) time.Duration {
	var longest time.Duration
	for _, d := range devices {
		if d.Check > 0 {
			longest = max(longest, d.Check+max(d.Force, DefaultForce))
		}
	}
	return longest
}

// site is a device's place, read from its URI.
type site struct {
	uri       string // as asked
	to        string // without port and parameters (RFC 3261 19.1.1)
	server    string // the host of the URI, which a certificate has to be for
	host      string
	port      uint16
	transport Transport
}

func (d Device) site() (site, error) {
	s, err := parseURI(d.URI)
	if err != nil {
		return site{}, err
	}
	switch d.Transport {
	case "", s.transport:
	case UDP, TCP, TLS:
		if s.named {
			return site{}, fmt.Errorf("transport %s contradicts %s", d.Transport, d.URI)
		}
		s.transport = d.Transport
	default:
		return site{}, fmt.Errorf("unknown transport %q (one of udp, tcp, tls)", d.Transport)
	}
	p := site{uri: d.URI, to: s.bare, server: s.host, host: s.host, port: s.port, transport: s.transport}
	if !s.named && s.transport != UDP {
		p.uri += ";transport=" + string(s.transport)
	}
	if d.Addr != "" {
		if p.host, p.port, err = splitHostPort(d.Addr); err != nil {
			return site{}, fmt.Errorf("address %q: %w", d.Addr, err)
		}
	}
	if p.port == 0 {
		if p.port = 5060; p.transport == TLS {
			p.port = 5061
		}
	}
	return p, nil
}

// Validate names everything that is wrong. conf is what connections with TLS are made with, nil for none.
func (d Device) Validate(conf *tls.Config) error {
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("device %q: "+format, append([]any{d.Name}, a...)...))
	}
	if d.Name == "" {
		bad("no name")
	}
	p, err := d.site()
	if err != nil {
		bad("%w", err)
	}
	if p.transport == TLS && conf == nil {
		bad("no TLS configuration")
	}
	span := func(name string, v, longest time.Duration) {
		if v < 0 || v > longest || (v > 0 && v < shortest) {
			bad("%s %v is neither 0 nor from %v to %v", name, v, shortest, longest)
		}
	}
	span("oos-check", d.Check, longestCheck)
	span("oos-force", d.Force, longestForce)
	span("recovery-timeout", d.Recovery, longestRecovery)
	if d.MaxForwards < 0 || d.MaxForwards > 255 {
		bad("oos-options-max-forwards %d is not from 0 to 255", d.MaxForwards)
	}
	if c := d.Credentials; c != nil && c.User == "" {
		bad("credentials without a user")
	}
	return errors.Join(errs...)
}
