package lab

import (
	"fmt"
	"net"
	"net/netip"
)

// The hosts.
const (
	MemberA = "a"
	MemberB = "b"
	Witness = "w"
	client  = "c"
)

// Network is one of the lab's two networks; also the name of its bridge.
type Network string

// The networks. The management network carries what the sidecars say to each other, the SIP network everything else.
const (
	Management Network = "mgmt"
	SIP        Network = "sip"
)

// Port is the SIP port of every server.
const Port = 5060

// The service addresses: what the pair is known by.
var (
	ServiceAddress  = netip.MustParseAddr("10.77.2.10")
	ServiceAddress6 = netip.MustParseAddr("fd77:2::10")
)

// leg is one host's connection to one network.
type leg struct {
	host    string
	network Network
	number  byte // last octet of its addresses and of its MAC address
}

// legs is the whole topology.
var legs = []leg{
	{MemberA, Management, 11}, {MemberA, SIP, 11},
	{MemberB, Management, 12}, {MemberB, SIP, 12},
	{Witness, Management, 13}, {Witness, SIP, 13},
	{client, SIP, 20},
}

// Members are the hosts with a SIP server.
func Members() []string { return []string{MemberA, MemberB} }

// Peer is the other member.
func Peer(member string) string {
	if member == MemberA {
		return MemberB
	}
	return MemberA
}

func (n Network) index() byte {
	if n == Management {
		return 1
	}
	return 2
}

// link is the interface's name at the host, port the one at the switch.
func (l leg) link() string { return string(l.network) + "0" }
func (l leg) port() string { return portName(l.network, l.host) }

func portName(n Network, host string) string { return string(n) + "-" + host }

func (l leg) addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, l.network.index(), l.number}) }
func (l leg) addr6() netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd77:%d::%d", l.network.index(), l.number))
}
func (l leg) mac() net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x77, l.network.index(), 0, 0, l.number}
}

// nobody is a MAC address that no host has.
var nobody = net.HardwareAddr{0x02, 0x77, 0, 0, 0, 0xff}

// legOf finds a host's leg in a network.
func legOf(host string, n Network) leg {
	for _, l := range legs {
		if l.host == host && l.network == n {
			return l
		}
	}
	panic("no host " + host + " in network " + string(n)) // callers name hosts of this package only
}

// Addr is a host's own IPv4 address in a network.
func Addr(host string, n Network) netip.Addr { return legOf(host, n).addr() }
