package lab

import (
	"fmt"
	"slices"
	"strings"
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

// cutTable is the switch's filter; the forward hook also sees every copy of a broadcast.
const cutTable = `table bridge lab {
	set cuts { type ifname . ifname; }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname . oifname @cuts drop
	}
}
`

func (l *Lab) prepareCuts() error { return l.nft(switchName, cutTable) }

// SetCuts makes cuts the cuts that are in force, in one step; none heals them all.
func (l *Lab) SetCuts(cuts ...Cut) error {
	script := "flush set bridge lab cuts\n"
	if len(cuts) > 0 {
		pairs := make([]string, len(cuts))
		for i, c := range cuts {
			pairs[i] = fmt.Sprintf("%q . %q", portName(c.Network, c.From), portName(c.Network, c.To))
		}
		slices.Sort(pairs)
		script += "add element bridge lab cuts { " + strings.Join(slices.Compact(pairs), ", ") + " }\n"
	}
	if err := l.nft(switchName, script); err != nil {
		return fmt.Errorf("cut %v: %w", cuts, err)
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
