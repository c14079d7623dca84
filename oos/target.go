package oos

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Transport is how a target is spoken to.
type Transport string

// The transports.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// DefaultRise is how many good answers in a row a target has to give that was dead or draining, if it names no number itself.
const DefaultRise = 2

// leastAsked is how many probes have to stay unanswered before silence means anything.
const leastAsked = 3

// Target is a SIP server to ask. Two targets that are equal (==) are the same.
type Target struct {
	Name      string // names it in reports; unique
	Addr      netip.AddrPort
	Transport Transport
	From      netip.Addr    // source address; the zero Addr leaves it to the kernel
	Interval  time.Duration // between two probes
	Silence   time.Duration // without any answer for this long it is dead
	Rise      int           // good answers in a row that end dead and draining; 0: DefaultRise
	TLS       *tls.Config   // for TLS; its ServerName or InsecureSkipVerify has to be set
}

func (t Target) validate() error {
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("target %q: "+format, append([]any{t.Name}, a...)...))
	}
	if t.Name == "" {
		bad("no name")
	}
	if !t.Addr.IsValid() || t.Addr.Port() == 0 || t.Addr.Addr().IsUnspecified() {
		bad("%v is no address with a port", t.Addr)
	}
	if t.From.IsValid() && t.From.Unmap().Is4() != t.Addr.Addr().Unmap().Is4() {
		bad("source %v and address %v are of different families", t.From, t.Addr)
	}
	switch {
	case t.Transport != UDP && t.Transport != TCP && t.Transport != TLS:
		bad("unknown transport %q (one of udp, tcp, tls)", t.Transport)
	case t.Transport == TLS && t.TLS == nil:
		bad("no TLS configuration")
	case t.Transport == TLS && t.TLS.ServerName == "" && !t.TLS.InsecureSkipVerify:
		bad("the TLS configuration has no server name")
	}
	if t.Interval <= 0 || t.Silence < t.Interval {
		bad("silence %v has to be at least the interval %v, and both more than 0", t.Silence, t.Interval)
	}
	if t.Rise < 0 {
		bad("rise %d", t.Rise)
	}
	return errors.Join(errs...)
}

func validate(targets []Target) error {
	var errs []error
	seen := map[string]bool{}
	for _, t := range targets {
		errs = append(errs, t.validate())
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("two targets are named %q", t.Name))
		}
		seen[t.Name] = true
	}
	return errors.Join(errs...)
}
