package vip

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// The frames, byte for byte as RFC 826, RFC 5227 and RFC 4861 write them.
func TestAnnouncement(t *testing.T) {
	mac := net.HardwareAddr{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}
	arpHead := "ffffffffffff 021122334455 0806 0001 0800 06 04"
	for addr, want := range map[string][]string{
		"192.0.2.10": {
			arpHead + "0001 021122334455 c000020a 000000000000 c000020a",
			arpHead + "0002 021122334455 c000020a 021122334455 c000020a",
		},
		"2001:db8::10": {
			"333300000001 021122334455 86dd 60000000 0020 3a ff" +
				"20010db8000000000000000000000010 ff020000000000000000000000000001" +
				"88 00 9274 20000000 20010db8000000000000000000000010 02 01 021122334455",
		},
	} {
		var got []string
		for _, f := range announcement(netip.MustParseAddr(addr), mac) {
			got = append(got, hex.EncodeToString(f))
		}
		if want := strings.ReplaceAll(strings.Join(want, "\n"), " ", ""); strings.Join(got, "\n") != want {
			t.Errorf("%s:\n%s, want\n%s", addr, strings.Join(got, "\n"), want)
		}
	}
}

// A receiver sums over pseudo header and message including the checksum and gets all ones (RFC 1071).
func TestICMPv6Sum(t *testing.T) {
	for _, addr := range []string{"2001:db8::1", "fd77::100", "fe80::ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"} {
		f := advertisement(netip.MustParseAddr(addr), net.HardwareAddr{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff})
		if got := icmpv6Sum(f[14+8:14+40], f[14+40:]); got != 0 {
			t.Errorf("%s: receivers compute %#04x", addr, got)
		}
	}
	if got, want := icmpv6Sum(nil, []byte{1, 2, 3}), ^uint16(0x0102+0x0300+3+58); got != want {
		t.Errorf("odd length: %#04x, want %#04x", got, want)
	}
}
