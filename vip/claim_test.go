package vip

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

var groupAddrs = []netip.Addr{vip4.Addr(), netip.MustParseAddr("10.77.0.101"), vip6.Addr(), netip.MustParseAddr("fd77::101")}

// machines gives the filters as the kernel runs them, but for the packet type.
func machines(t testing.TB) (arp, nd *bpf.VM) {
	t.Helper()
	arp, err := bpf.NewVM(arpFilter(groupAddrs, macA))
	if err != nil {
		t.Fatal(err)
	}
	if nd, err = bpf.NewVM(ndFilter(groupAddrs)); err != nil {
		t.Fatal(err)
	}
	return arp, nd
}

func passes(t testing.TB, vm *bpf.VM, f []byte) bool {
	t.Helper()
	n, err := vm.Run(f)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// solicitation is a neighbour solicitation sent from the address of an announcement.
func solicitation(from netip.Addr, mac MAC) []byte {
	f := advertisement(from, mac[:])
	f[atICMPv6], f[atICMPv6+4] = neighbourSolicitation, 0
	f[atOptions] = sourceLinkAddress
	copy(f[atTarget:], netip.MustParseAddr("fd77::2").AsSlice())
	return summed(f)
}

func summed(f []byte) []byte {
	end := atICMPv6 + int(f[atPayload+4])<<8 + int(f[atPayload+5])
	f[atICMPv6+2], f[atICMPv6+3] = 0, 0
	sum := icmpv6Sum(f[atIPv6Addr:atICMPv6], f[atICMPv6:end])
	f[atICMPv6+2], f[atICMPv6+3] = byte(sum>>8), byte(sum)
	return f
}

// What is a claim, and what isn't (RFC 5227 section 2.4, RFC 4861 section 7.1): by the filter and by the parser.
func TestClaims(t *testing.T) {
	with := func(f []byte, change func([]byte)) []byte {
		f = bytes.Clone(f)
		change(f)
		return f
	}
	arp := announcement(vip4.Addr(), stranger[:])
	na := advertisement(vip6.Addr(), stranger[:])
	arpVM, ndVM := machines(t)
	for name, c := range map[string]struct {
		frame        []byte
		pass, parsed bool
	}{
		"gratuitous request":  {arp[0], true, true},
		"gratuitous reply":    {arp[1], true, true},
		"padded":              {append(bytes.Clone(arp[0]), make([]byte, 18)...), true, true},
		"second address":      {arpFrame(1, netip.MustParseAddr("10.77.0.101"), stranger[:], stranger[:]), true, true},
		"our MAC":             {arpFrame(1, vip4.Addr(), macA[:], macA[:]), false, true},
		"other address":       {arpFrame(1, netip.MustParseAddr("10.77.0.99"), stranger[:], stranger[:]), false, true},
		"probe":               {with(arp[0], func(f []byte) { clear(f[atARPAddr : atARPAddr+4]) }), false, false},
		"cut ARP":             {arp[0][:30], false, false},
		"ARP of another kind": {with(arp[0], func(f []byte) { f[14+3] = 6 }), true, false},
		"multicast sender":    {with(arp[0], func(f []byte) { f[atARPMAC] = 1 }), true, false},
		"ARP in IPv6":         {with(arp[0], func(f []byte) { f[12] = 0x86 }), false, false},

		"advertisement":          {na, true, true},
		"second IPv6 address":    {advertisement(netip.MustParseAddr("fd77::101"), stranger[:]), true, true},
		"other IPv6 address":     {advertisement(netip.MustParseAddr("fd77::99"), stranger[:]), false, true},
		"last octet differs":     {advertisement(netip.MustParseAddr("fd77::102"), stranger[:]), false, true},
		"without option":         {summed(with(na[:atOptions], func(f []byte) { f[atPayload+5] = 24 })), true, true},
		"trailing octets":        {append(bytes.Clone(na), 1, 2, 3), true, true},
		"solicitation":           {solicitation(vip6.Addr(), stranger), true, true},
		"solicitation of others": {solicitation(netip.MustParseAddr("fd77::99"), stranger), false, true},
		"detection of duplicates": {summed(with(solicitation(vip6.Addr(), stranger), func(f []byte) {
			clear(f[atIPv6Addr:atIPv6To])
			copy(f[atTarget:], vip6.Addr().AsSlice())
		})), false, false},
		"from afar":         {with(na, func(f []byte) { f[atHops] = 64 }), false, false},
		"no ICMP":           {with(na, func(f []byte) { f[atNext] = 17 }), false, false},
		"wrong sum":         {with(na, func(f []byte) { f[atICMPv6+2]++ }), true, false},
		"code":              {summed(with(na, func(f []byte) { f[atICMPv6+1] = 1 })), true, false},
		"router":            {summed(with(na, func(f []byte) { f[atICMPv6] = 134 })), false, false},
		"empty option":      {summed(with(na, func(f []byte) { f[atOptions+1] = 0 })), true, false},
		"option too long":   {summed(with(na, func(f []byte) { f[atOptions+1] = 2 })), true, false},
		"payload too long":  {with(na, func(f []byte) { f[atPayload+5] = 200 }), true, false},
		"payload too short": {with(na, func(f []byte) { f[atPayload+5] = 8 }), true, false},
		"nothing":           {nil, false, false},
	} {
		vm, parse := ndVM, ndClaim
		if len(c.frame) > 13 && c.frame[12] == 0x08 || name == "ARP in IPv6" {
			vm, parse = arpVM, arpClaim
		}
		if got := passes(t, vm, c.frame); got != c.pass {
			t.Errorf("%s: filter says %v", name, got)
		}
		got, ok := parse(c.frame)
		if ok != c.parsed {
			t.Errorf("%s: parser says %v %+v", name, ok, got)
		}
		if ok && c.pass && got.mac != stranger {
			t.Errorf("%s: MAC %v", name, got.mac)
		}
	}
}

// The MAC is that of the option, wherever it stands, not that of the frame.
func TestClaims_option(t *testing.T) {
	f := advertisement(vip6.Addr(), stranger[:])
	copy(f[atSource:], macB[:])
	long := append(bytes.Clone(f[:atOptions]), append([]byte{14, 2, 15: 0}, f[atOptions:]...)...)
	long[atPayload+5] += 16
	for _, f := range [][]byte{f, summed(long)} {
		if c, ok := ndClaim(f); !ok || c.mac != stranger || c.address != vip6.Addr() {
			t.Errorf("%+v %v", c, ok)
		}
	}
}

// What is announced to one neighbour is the announcement, with another destination and a right checksum.
func TestDirected(t *testing.T) {
	for _, p := range group {
		for _, to := range []netip.Addr{{}, netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")} {
			frames := directed(p.Addr(), macA[:], to, macB)
			for i, f := range frames {
				if MAC(f) != macB || !bytes.Equal(f[6:14], announcement(p.Addr(), macA[:])[i][6:14]) {
					t.Errorf("%v to %v: %x", p, to, f)
				}
				if p.Addr().Is4() {
					continue
				}
				want := to
				if !to.Is6() {
					want = netip.IPv6LinkLocalAllNodes()
				}
				if got := netip.AddrFrom16([16]byte(f[atIPv6To:])); got != want || icmpv6Sum(f[atIPv6Addr:atICMPv6], f[atICMPv6:]) != 0 {
					t.Errorf("%v to %v: destination %v", p, to, got)
				}
			}
		}
	}
}

// Whatever arrives: no crash, and what the parser takes for a claim of ours passes the filter unless it has our MAC.
func FuzzClaim(f *testing.F) {
	for _, frame := range append(announcement(vip4.Addr(), stranger[:]), announcement(vip6.Addr(), net.HardwareAddr(stranger[:]))...) {
		f.Add(frame)
	}
	f.Add(solicitation(vip6.Addr(), stranger))
	arp, nd := machines(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 2048 {
			return
		}
		arpPasses, ndPasses := passes(t, arp, frame), passes(t, nd, frame)
		ours := func(a netip.Addr) bool { return (&ledger{group: prefixesOf(groupAddrs)}).ours(a) }
		if c, ok := arpClaim(frame); ok && ours(c.address) && arpPasses == (c.mac == macA) {
			t.Errorf("ARP %x: %+v, the filter says %v", frame, c, arpPasses)
		}
		if c, ok := ndClaim(frame); ok && ours(c.address) && !ndPasses {
			t.Errorf("ND %x: %+v does not pass the filter", frame, c)
		}
	})
}

func prefixesOf(all []netip.Addr) []netip.Prefix {
	var ps []netip.Prefix
	for _, a := range all {
		ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
	}
	return ps
}
