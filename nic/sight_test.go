package nic

import (
	"net/netip"
	"testing"
)

// An interface is judged by its flags, its operational state and its address; unknown counts as up, loopback always (S4-47).
func TestJudge(t *testing.T) {
	const up = flagUp | flagLowerUp
	a := netip.MustParseAddr("10.0.0.1")
	byName, byAddress, both := Monitor{Link: "eth1"}, Monitor{Address: a}, Monitor{Link: "eth1", Address: a}
	was := past{index: 7, name: "eth1", had: true}
	eth := func(flags uint32, oper operState) *link {
		return &link{index: 7, name: "eth1", flags: flags, oper: oper}
	}
	of := func(kind, below string) *link {
		return &link{index: 7, name: "eth1", flags: flagUp, oper: operLowerLayerDown, kind: kind, below: below}
	}
	for _, c := range []struct {
		name  string
		m     Monitor
		p     past
		s     sight
		up    bool
		wants string
	}{
		{"up", byName, past{}, sight{link: eth(up, operUp)}, true, "eth1 is up"},
		{"unknown", byName, was, sight{link: eth(up, operUnknown)}, true, "eth1 is up"},
		{"dormant", byName, was, sight{link: eth(up, operDormant)}, true, "eth1 is up"},
		{"testing", byName, was, sight{link: eth(up, operTesting)}, true, "eth1 is up"},
		{"set down", byName, was, sight{link: eth(0, operDown)}, false, "eth1 is set down by an administrator"},
		{"down", byName, was, sight{link: eth(up, operDown)}, false, "no carrier on eth1"},
		{"lower layer down", byName, was, sight{link: eth(up, operLowerLayerDown)}, false, "no carrier on eth1"},
		{"not present", byName, was, sight{link: eth(up, operNotPresent)}, false, "no carrier on eth1"},
		{"carrier lost, state not yet", byName, was, sight{link: eth(flagUp, operUp)}, false, "no carrier on eth1"},
		{"loopback", byName, was, sight{link: eth(flagLoopback, operDown)}, true, "eth1 is up"},
		{"loopback without address", byAddress, was, sight{old: eth(flagLoopback, operDown)}, false, "eth1 no longer has 10.0.0.1"},
		{"bond", byName, was, sight{link: of("bond", "")}, false, "no carrier on eth1: none of its members is up"},
		{"bridge", byName, was, sight{link: of("bridge", "")}, false, "no carrier on eth1: none of its ports forwards"},
		{"vlan", byName, was, sight{link: of("vlan", "eth0")}, false, "no carrier on eth1: eth0 below it is down"},
		{"never there", byName, past{}, sight{}, false, "there is no interface eth1"},
		{"removed", byName, was, sight{}, false, "eth1 was removed"},
		{"renamed", byName, was, sight{old: &link{name: "eth9"}}, false, "eth1 was renamed to eth9"},
		{"other name taken away", Monitor{Link: "wan"}, was, sight{old: eth(up, operUp)}, false, "eth1 is no longer called wan"},
		{"address nowhere", byAddress, past{}, sight{}, false, "no interface has 10.0.0.1"},
		{"address gone with the interface", byAddress, was, sight{}, false, "eth1 was removed"},
		{"address gone", byAddress, was, sight{old: eth(up, operUp)}, false, "eth1 no longer has 10.0.0.1"},
		{"address gone with the carrier", byAddress, was, sight{old: eth(flagUp, operDown)}, false, "eth1 no longer has 10.0.0.1"},
		{"set down, address gone with that", byAddress, was, sight{old: eth(0, operDown)}, false, "eth1 is set down by an administrator"},
		{"address there", byAddress, was, sight{link: eth(up, operUp), carries: carriesIt}, true, "eth1 is up"},
		{"address not on it", both, past{}, sight{link: eth(up, operUp)}, false, "eth1 does not have 10.0.0.1"},
		{"address no longer on it", both, was, sight{link: eth(up, operUp)}, false, "eth1 no longer has 10.0.0.1"},
		{"tentative", both, was, sight{link: eth(up, operUp), carries: carriesTentative}, false,
			"10.0.0.1 on eth1 is still tentative: the kernel looks for duplicates"},
		{"duplicate", both, was, sight{link: eth(up, operUp), carries: carriesDuplicate}, false,
			"10.0.0.1 on eth1 is not usable: another host has it too"},
		{"no carrier counts before the address", both, was, sight{link: eth(flagUp, operDown)}, false, "no carrier on eth1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if up, text := judge(c.m, c.p, c.s); up != c.up || text != c.wants {
				t.Errorf("judge: got %v %q, want %v %q", up, text, c.up, c.wants)
			}
		})
	}
}
