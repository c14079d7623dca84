package device

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// address is what a SIP URI says of where to go.
type address struct {
	bare      string // scheme, user and host
	host      string // a name or an address without brackets
	port      uint16 // 0 without one
	transport Transport
	named     bool // the URI names the transport
}

// parseURI reads a SIP or SIPS URI (RFC 3261 19.1) without headers.
func parseURI(uri string) (address, error) {
	bad := func(why string) (address, error) { return address{}, fmt.Errorf("URI %q: %s", uri, why) }
	for _, c := range []byte(uri) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("<>\"?", c) >= 0 {
			return bad(fmt.Sprintf("%q is not allowed", rune(c)))
		}
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if scheme = strings.ToLower(scheme); !ok || (scheme != "sip" && scheme != "sips") {
		return bad("it begins with neither sip: nor sips:")
	}
	user, hostPort := "", rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, hostPort = rest[:i+1], rest[i+1:]
	}
	hostPort, params, _ := strings.Cut(hostPort, ";")
	a := address{transport: UDP}
	var err error
	if a.host, a.port, err = splitHostPort(hostPort); err != nil {
		return bad(err.Error())
	}
	if a.bare = scheme + ":" + user + a.host; strings.Contains(a.host, ":") {
		a.bare = scheme + ":" + user + "[" + a.host + "]"
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(name, "transport") {
			continue
		}
		switch a.transport = Transport(strings.ToLower(value)); a.transport {
		case UDP, TCP, TLS:
			a.named = true
		default:
			return bad(fmt.Sprintf("unknown transport %q (one of udp, tcp, tls)", value))
		}
	}
	if scheme == "sips" {
		if a.named && a.transport == UDP {
			return bad("sips is not spoken over udp")
		}
		a.transport, a.named = TLS, true
	}
	return a, nil
}

// splitHostPort reads host, host:port or [address]:port.
func splitHostPort(s string) (host string, port uint16, err error) {
	host, digits, hasPort := strings.Cut(s, ":")
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, rest, ok = strings.Cut(rest, "]"); !ok {
			return "", 0, errors.New("no closing bracket")
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, fmt.Errorf("%q is no IPv6 address", host)
		}
		if digits, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return "", 0, fmt.Errorf("%q after the address", rest)
		}
	}
	if host == "" {
		return "", 0, errors.New("no host")
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		return "", 0, fmt.Errorf("%s is no device's address", host)
	}
	if !hasPort {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q is no port", digits)
	}
	return host, uint16(n), nil
}
