package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// scalar is a value of the configuration that is written as one piece of text.
type scalar interface {
	parse(text string) error // a *valueError with what is wrong and what to do
	String() string
}

// valueError says what is wrong with a value and what to write instead.
type valueError struct{ what, todo string }

func (e *valueError) Error() string { return e.what + "; " + e.todo }

func wrong(todo, format string, args ...any) error {
	return &valueError{what: fmt.Sprintf(format, args...), todo: todo}
}

// Duration is a length of time: "500ms", "10s", or a bare number of seconds.
type Duration time.Duration

func (d *Duration) parse(text string) error {
	const todo = "write 500ms, 10s, 2m, 24h or a bare number of seconds"
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "0123456789.") == "" {
		if seconds > float64(24*365*3600) {
			return wrong(todo, "%s seconds are more than a year", text)
		}
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	parsed, err := time.ParseDuration(text)
	switch {
	case err != nil || strings.HasPrefix(text, "+"):
		return wrong(todo, "%q is not a duration", text)
	case parsed < 0:
		return wrong(todo, "%s is negative", text)
	}
	*d = Duration(parsed)
	return nil
}

// Set and Type make it a flag.
func (d *Duration) Set(text string) error { return d.parse(text) }

// Type is how help calls its value.
func (d *Duration) Type() string { return "duration" }

// String leaves zero units out: 1m, not 1m0s.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// HostPort is where a node listens. Names are not taken: DNS may be what is down when the address is needed.
type HostPort struct{ netip.AddrPort }

func (h *HostPort) parse(text string) error {
	const todo = `write an IP address and a port: "10.0.0.11:7946", "[2001:db8::11]:7946"`
	parsed, err := netip.ParseAddrPort(text)
	if err != nil {
		if _, bare := netip.ParseAddr(text); bare == nil {
			return wrong(todo, "%q has no port", text)
		}
		if host, _, found := strings.Cut(text, ":"); found && strings.Trim(host, "0123456789.[]") != "" {
			return wrong(todo+"; names are not looked up, because DNS may be down when it matters", "%q is not an IP address with a port", text)
		}
		return wrong(todo, "%q is not an IP address with a port", text)
	}
	if parsed.Port() == 0 {
		return wrong(todo, "port 0 is no port")
	}
	if err := usable(parsed.Addr()); err != nil {
		return err
	}
	h.AddrPort = parsed
	return nil
}

// usable refuses what no single host on a network can have.
func usable(a netip.Addr) error {
	const todo = "write the address of one host"
	switch {
	case a.Zone() != "":
		return wrong("write one without, the file is the same on all hosts", "%s has a zone", a)
	case a.Is4In6():
		return wrong("write "+a.Unmap().String(), "%s is an IPv4 address in IPv6 clothes", a)
	case a.IsUnspecified():
		return wrong(todo, "%s means every address", a)
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return wrong(todo, "%s is a multicast or broadcast address", a)
	}
	return nil
}

// parseAddr is the parse of a bare address (netip.Addr itself can't have methods of ours).
func parseAddr(text string) (netip.Addr, error) {
	const todo = "write an IP address: 192.0.2.11, 2001:db8::11"
	a, err := netip.ParseAddr(text)
	if err != nil {
		if _, withPort := netip.ParseAddrPort(text); withPort == nil {
			return a, wrong("leave the port out", "%q is an address with a port", text)
		}
		if _, prefix := netip.ParsePrefix(text); prefix == nil {
			return a, wrong("leave the prefix length out", "%q is an address with a prefix length", text)
		}
		return a, wrong(todo, "%q is not an IP address", text)
	}
	return a, usable(a)
}

// Prefix is a service address with its prefix length; a bare address gets /32 or /128.
type Prefix struct{ netip.Prefix }

func (p *Prefix) parse(text string) error {
	const todo = "write 203.0.113.10, 203.0.113.10/24 or 2001:db8::10/128"
	parsed, err := netip.ParsePrefix(text)
	if bare, bareErr := netip.ParseAddr(text); bareErr == nil {
		parsed, err = netip.PrefixFrom(bare.WithZone(""), bare.BitLen()), nil
		if bare.Zone() != "" {
			return usable(bare)
		}
	}
	if err != nil {
		return wrong(todo, "%q is not an IP address with a prefix length", text)
	}
	a := parsed.Addr()
	if err := usable(a); err != nil {
		return err
	}
	if a.IsLoopback() {
		return wrong("write an address of the network of the phones", "%s never leaves the host", a)
	}
	if parsed.Bits() < a.BitLen()-1 && parsed.Masked().Addr() == a {
		return wrong("write the address that the phones use, with the prefix length of its network", "%s is a network, not an address in it", parsed)
	}
	p.Prefix = parsed
	return nil
}

// Budget is how many judged switchovers may happen in a period: "3/1h".
type Budget supervisor.Budget

func (b *Budget) parse(text string) error {
	const todo = "write a number, a slash and a period: 3/1h"
	count, per, found := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !found || err != nil {
		return wrong(todo, "%q is not a budget", text)
	}
	var period Duration
	if err := period.parse(strings.TrimSpace(per)); err != nil {
		return wrong(todo, "%q is not a budget: %q is not a period", text, per)
	}
	if n < 1 || n > 100 {
		return wrong("1 to 100 are possible; to hold automatic switchovers back use `understudy pause`", "a budget of %d", n)
	}
	if time.Duration(period) < time.Minute || time.Duration(period) > 7*24*time.Hour {
		return wrong("1m to 168h are possible", "a period of %s", period)
	}
	*b = Budget{Count: n, Per: time.Duration(period)}
	return nil
}

func (b Budget) String() string { return fmt.Sprintf("%d/%s", b.Count, Duration(b.Per)) }
