package nic

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
)

var (
	gateway4 = netip.MustParseAddr("10.0.0.254")
	gateway6 = netip.MustParseAddr("fe80::fe")
	ourMAC   = [6]byte{2, 0, 0, 0, 0, 1}
	itsMAC   = [6]byte{2, 0, 0, 0, 0, 0xfe}
)

// Requests are byte for byte what RFC 826 and RFC 4861 §4.3 want.
func TestRequest(t *testing.T) {
	from4, from6, us := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1"), link{mac: ourMAC}
	for _, c := range []struct {
		name string
		q    question
		want string
	}{
		{"ARP", question{link: us, gateway: gateway4, from: from4, to: everywhere(gateway4)},
			"0001080006040001" + "020000000001" + "0a000001" + "000000000000" + "0a0000fe"},
		{"unicast solicitation", question{link: us, gateway: gateway6, from: from6, to: itsMAC},
			"6000000000203aff" + "fe800000000000000000000000000001" + "fe8000000000000000000000000000fe" +
				"8700782300000000" + "fe8000000000000000000000000000fe" + "0101020000000001"},
		{"multicast solicitation", question{link: us, gateway: gateway6, from: from6, to: everywhere(gateway6)},
			"6000000000203aff" + "fe800000000000000000000000000001" + "ff0200000000000000000001ff0000fe" +
				"8700789f00000000" + "fe8000000000000000000000000000fe" + "0101020000000001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := hex.EncodeToString(request(c.q)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if got := everywhere(gateway6); got != [6]byte{0x33, 0x33, 0xff, 0, 0, 0xfe} {
		t.Errorf("multicast address: got %x", got)
	}
}

// reply4 and reply6 are what a gateway answers.
func reply4() []byte {
	b := arpRequest(question{link: link{mac: itsMAC}, from: gateway4, gateway: netip.MustParseAddr("10.0.0.1")})
	b[7] = 2
	return b
}

func reply6() []byte {
	b := solicitation(question{link: link{mac: itsMAC}, from: gateway6, gateway: gateway6})
	b[40], b[64] = neighbourAdvert, 2
	return resum(b)
}

func resum(b []byte) []byte {
	b[42], b[43] = 0, 0
	sum := checksum(b[8:40], b[40:])
	b[42], b[43] = byte(sum>>8), byte(sum)
	return b
}

// Only what the gateway itself can have sent is a proof of it.
func TestProves(t *testing.T) {
	sender := [6]byte{2, 0, 0, 0, 0, 0x99}
	with := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for _, c := range []struct {
		name    string
		gateway netip.Addr
		packet  []byte
		want    bool
		mac     [6]byte
	}{
		{"ARP reply", gateway4, reply4(), true, itsMAC},
		{"ARP request of its", gateway4, with(reply4(), 7, 1), true, itsMAC},
		{"padded", gateway4, append(reply4(), make([]byte, 18)...), true, itsMAC},
		{"of another", gateway4, with(reply4(), 17, 1), false, itsMAC},
		{"not Ethernet", gateway4, with(reply4(), 1, 6), false, itsMAC},
		{"cut off", gateway4, reply4()[:27], false, itsMAC},
		{"advertisement", gateway6, reply6(), true, itsMAC},
		{"without option", gateway6, resum(with(reply6()[:64], 5, 24)), true, sender},
		{"for another", gateway6, resum(with(reply6(), 63, 1)), false, itsMAC},
		{"forwarded", gateway6, with(reply6(), 7, 254), false, itsMAC},
		{"solicitation", gateway6, resum(with(reply6(), 40, neighbourSolicitation)), false, itsMAC},
		{"broken checksum", gateway6, with(reply6(), 42, 0), false, itsMAC},
		{"cut off", gateway6, reply6()[:60], false, itsMAC},
		{"longer than it is", gateway6, with(reply6(), 5, 200), false, itsMAC},
		{"nothing", gateway6, nil, false, itsMAC},
	} {
		t.Run(c.name, func(t *testing.T) {
			mac, got := proves(c.gateway, c.packet, sender)
			if got != c.want || got && mac != c.mac {
				t.Errorf("got %v %x, want %v %x", got, mac, c.want, c.mac)
			}
		})
	}
}

// Whatever comes from the wire or the kernel, nothing panics or loops.
func FuzzParse(f *testing.F) {
	f.Add(reply4())
	f.Add(reply6())
	f.Add(attribute(attribute(make([]byte, 16), 3, []byte("eth0\x00")), 18, attribute(nil, 1, []byte("vlan"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		proves(gateway4, b, itsMAC)
		proves(gateway6, b, itsMAC)
		for m := range messages(b) {
			parseLink(m.body)
			parseAddr(m.body)
		}
		parseLink(b)
		parseAddr(b)
		if !slices.Equal(before, b) {
			t.Error("the input was changed")
		}
	})
}
