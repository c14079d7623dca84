package traffic

import (
	"net/netip"
	"time"
)

// Meta says where a message was seen.
type Meta struct {
	From, To  netip.AddrPort
	In        bool // to one of the addresses; else from one
	Local     bool // from this host to itself
	Transport Transport
	At        time.Duration // of raw.Clock
}

// Transport is what carried a message, as far as can be told.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	TLS
	WS
	WSS
	SCTP
)

func (t Transport) String() string {
	return [...]string{"UDP", "TCP", "TLS", "WS", "WSS", "SCTP"}[t]
}
