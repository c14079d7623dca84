package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cut is one direction of one connection that carries nothing: the switch drops From's frames to To. Links stay up and
// nobody is told.
type Cut struct {
	Network  Network
	From, To string
}

// Between gives the cuts that separate two hosts in both networks and both directions.
func Between(x, y string) []Cut {
	return []Cut{{Management, x, y}, {Management, y, x}, {SIP, x, y}, {SIP, y, x}}
}

// around gives the cuts that separate a host from all others.
func around(host string) []Cut {
	var cuts []Cut
	for _, l := range legs {
		if l.host != host {
			cuts = append(cuts, Cut{l.network, host, l.host}, Cut{l.network, l.host, host})
		}
	}
	return cuts
}

// cutTable is the switch's filter; the forward hook also sees every copy of a broadcast. silent ports get no SIP from the client, lossy
// ones lose a fifth of what goes each way.
const cutTable = `table bridge lab {
	set cuts { type ifname . ifname; }
	set silent { type ifname; }
	set lossy { type ifname; }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname . oifname @cuts drop
		iifname "sip-c" oifname @silent udp dport 5060 drop
		iifname @lossy numgen random mod 100 < 20 drop
		oifname @lossy numgen random mod 100 < 20 drop
	}
}
`

func (l *Lab) prepareCuts() error { return l.nft(switchName, cutTable) }

// SetCuts makes cuts the cuts that are in force, in one step; none heals them all.
func (l *Lab) SetCuts(cuts ...Cut) error {
	pairs := make([]string, len(cuts))
	for i, c := range cuts {
		pairs[i] = fmt.Sprintf("%q . %q", portName(c.Network, c.From), portName(c.Network, c.To))
	}
	return l.fillSet("cuts", pairs)
}

// setSilent makes these hosts, and no other, get no SIP from the client.
func (l *Lab) setSilent(hosts ...string) error {
	return l.fillSet("silent", portsOf(hosts, SIP))
}

// setLossy makes these hosts, and no other, lose a fifth of the packets each way in all their networks.
func (l *Lab) setLossy(hosts ...string) error {
	return l.fillSet("lossy", portsOf(hosts, SIP, Management))
}

// portsOf are the switch's ports of hosts in networks, quoted.
func portsOf(hosts []string, networks ...Network) []string {
	var ports []string
	for _, leg := range legs {
		if slices.Contains(hosts, leg.host) && slices.Contains(networks, leg.network) {
			ports = append(ports, strconv.Quote(leg.port()))
		}
	}
	return ports
}

// fillSet gives a set of the switch's filter its elements, in one step.
func (l *Lab) fillSet(set string, elements []string) error {
	script := "flush set bridge lab " + set + "\n"
	if len(elements) > 0 {
		slices.Sort(elements)
		script += "add element bridge lab " + set + " { " + strings.Join(slices.Compact(elements), ", ") + " }\n"
	}
	if err := l.nft(switchName, script); err != nil {
		return fmt.Errorf("fill the switch's set %s with %v: %w", set, elements, err)
	}
	return nil
}

// flap takes a leg's carrier away for moments, again and again.
func (l *Lab) flap(leg leg) error {
	for range flaps {
		if err := l.sw.setLink(leg.port(), false); err != nil {
			return err
		}
		time.Sleep(flapDown)
		if err := l.sw.setLink(leg.port(), true); err != nil {
			return err
		}
		time.Sleep(flapEvery - flapDown)
	}
	return nil
}

// setCables plugs a host's cables in or pulls them, at the far end: the host sees its carrier go.
func (l *Lab) setCables(host string, in bool) error {
	for _, leg := range legs {
		if leg.host != host {
			continue
		}
		if err := l.sw.setLink(leg.port(), in); err != nil {
			return err
		}
	}
	return nil
}

// deafTable makes a host deaf for SIP from the network, while its own processes still reach its server.
const deafTable = `table inet labdeaf {
	chain input {
		type filter hook input priority -300; policy accept;
		iifname "sip0" udp dport 5060 drop
	}
}
`

// setDeaf makes a host lose all SIP that comes in from the network, or hear again.
func (l *Lab) setDeaf(host string, deaf bool) error {
	script := "table inet labdeaf\ndelete table inet labdeaf\n"
	if deaf {
		script += deafTable
	}
	return l.nft(host, script)
}
