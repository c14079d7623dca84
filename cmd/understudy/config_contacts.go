package main

import "net/netip"

// Contacts says how the registrations of both members are kept the same.
type Contacts struct {
	Server     string   `key:"server" oneof:"none kamailio"`
	Learn      string   `key:"learn" oneof:"auto server wire"`
	RPC        string   `key:"rpc" is:"path"`
	Replay     HostPort `key:"replay"`
	Push       HostPort `key:"push"`
	Table      string   `key:"table" is:"name"`
	MinExpires Duration `key:"min-expires" min:"0s" max:"1h"`
}

// noRegistrar is the server of those whose registrations are kept by nobody, or by the servers themselves.
const noRegistrar = "none"

func hostPort(s string) HostPort { return HostPort{netip.MustParseAddrPort(s)} }
