package location

import (
	"net/netip"
	"strings"
)

// Flow is the connection over which a phone registered (RFC 5626).
type Flow struct{ Server, Phone netip.AddrPort }

// Flow gives the connection that a binding lives on, as far as the binding tells both ends.
func (b *Binding) Flow() (f Flow, ok bool) {
	if !b.Connected() {
		return f, false
	}
	_, at, _ := strings.Cut(b.Socket, ":")
	server, err := netip.ParseAddrPort(at)
	if err != nil {
		return f, false
	}
	for _, s := range []string{b.Received, b.Contact} {
		u, err := parseURI(s)
		if err != nil {
			continue
		}
		port := u.port
		if port == "" {
			port = "5060"
		}
		if phone, err := netip.ParseAddrPort(u.host + ":" + port); err == nil {
			return Flow{Server: server, Phone: phone}, true
		}
	}
	return f, false
}
