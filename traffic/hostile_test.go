package traffic

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// hostile makes a frame to this host's SIP port that is meant to hurt.
func hostile(rng *rand.Rand) []byte {
	src := netip.AddrFrom4([4]byte{10, 77, byte(1 + rng.IntN(250)), byte(rng.IntN(256))})
	port := uint16(1024 + rng.IntN(60_000))
	text := hostileText(rng)
	text = text[:min(len(text), 1400)]
	if rng.IntN(4) == 0 {
		return ether(unix.ETH_P_IP, ip(src, here, unix.IPPROTO_UDP, nil, udp(port, 5060, text)))
	}
	switch rng.IntN(4) {
	case 0: // fragments that belong to nothing
		b := ip(src, here, unix.IPPROTO_UDP, nil, udp(port, 5060, text))
		binary.BigEndian.PutUint16(b[4:], uint16(rng.Uint32()))
		binary.BigEndian.PutUint16(b[6:], 0x2000|uint16(rng.IntN(8192)))
		return ether(unix.ETH_P_IP, b)
	case 1: // the same, IPv6, behind headers
		s := netip.MustParseAddr(there6).As16()
		binary.BigEndian.PutUint32(s[8:], rng.Uint32())
		extensions := []byte{44, 0, 1, 4, 0, 0, 0, 0, 17, 0, byte(rng.IntN(256)), byte(rng.IntN(256)), 0, 0, byte(rng.IntN(256)), byte(rng.IntN(256))}
		return ether(unix.ETH_P_IPV6, ip(netip.AddrFrom16(s), netip.MustParseAddr(here6), unix.IPPROTO_HOPOPTS, extensions, udp(port, 5060, text)))
	case 2: // TCP: a message that has no end, segments with holes before them, resets
		b := tcp(port, 5060, rng.Uint32()>>(rng.IntN(3)*8), []byte{0x18, 0x18, 0x02, 0x10, 0x11}[rng.IntN(5)], text)
		return ether(unix.ETH_P_IP, ip(src, here, unix.IPPROTO_TCP, nil, b))
	}
	b := ip(src, here, uint8([]int{6, 17}[rng.IntN(2)]), nil, noise(rng, rng.IntN(200))) // headers that are none
	return ether(unix.ETH_P_IP, b)
}

func hostileText(rng *rand.Rand) string {
	good := request([]string{"INVITE", "REGISTER"}[rng.IntN(2)], fmt.Sprint("evil", rng.Uint32()), 1)
	switch rng.IntN(7) {
	case 0:
		return string(noise(rng, rng.IntN(1400)))
	case 1:
		return good[:rng.IntN(len(good))]
	case 2:
		return strings.Replace(good, "Content-Length: 0", "Content-Length: 65000", 1)
	case 3:
		return "INVITE sip:x SIP/2.0\r\n" + strings.Repeat("a:\r\n", 300)
	case 4:
		return "INVITE sip:x SIP/2.0\r\nVia: " + strings.Repeat("\"<,;", 300)
	case 5:
		b := []byte(good)
		for range 10 {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		return string(b)
	}
	return "\x16\x03\x03\xff\xff" + strings.Repeat("\x17\x03\x03\x00\x01x", 200)
}

func tcp(src, dst uint16, seq uint32, flags byte, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, data...)
}

// resident is what this process has in memory, in octets, without what is free already.
func resident(t testing.TB) uint64 {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// 10,000 malformed packets a second cost no crash, bounded memory, and no good message (issue: a hostile sender).
func TestMonitor_hostile(t *testing.T) {
	h := newFar(t)
	conn := listenUDP(t, here4+":5060")
	var late lateness
	o := standard()
	o.OnMessage = late.watch
	o.Registered = func(r location.Registration) { t.Errorf("learned %+v", r) }
	m := run(t, o)
	link, err := netlink.LinkByName(wire)
	if err != nil {
		t.Fatal(err)
	}
	var client net.Conn
	h.do(t, func() (err error) { client, err = net.Dial("udp", conn.LocalAddr().String()); return err })
	defer client.Close()
	var heap, peak runtime.MemStats
	runtime.ReadMemStats(&heap)
	before := resident(t)
	p := spawn(t, &h, "flood", link.Attrs().HardwareAddr, 10_000, 4)
	done := make(chan tallyOf, 1)
	go func() { done <- p.wait() }()
	good, highest := 0, uint64(0)
	var sent tallyOf
	for sent.Sent == 0 {
		select {
		case sent = <-done:
		case <-time.After(5 * time.Millisecond):
			if _, err := client.Write([]byte(request("PUBLISH", fmt.Sprint("good", good), 1))); err != nil {
				t.Fatal(err)
			}
			good++
			if good%50 == 0 {
				runtime.ReadMemStats(&peak)
				highest = max(highest, peak.HeapAlloc)
			}
		}
	}
	s := settled(t, m, h)
	after := resident(t)
	t.Logf("%d malformed frames, %d parse errors, heap %d -> at most %d KB, resident %d -> %d KB, %d packets dropped",
		sent.Sent, s.ParseErrors, heap.HeapAlloc>>10, highest>>10, before>>10, after>>10, s.Dropped)
	if s.In.Requests[9]+s.Dropped < uint64(good) || s.ParseErrors == 0 {
		t.Errorf("got %d of %d good messages, %d parse errors", s.In.Requests[9], good, s.ParseErrors)
	}
	if longest := late.get(); s.Dropped > 0 && longest < patientRing {
		t.Errorf("%d packets dropped, though the monitor was never kept from running for more than %v", s.Dropped, longest)
	}
	const bound = 64 << 20 // 2 MB of fragments, 12 MB of TCP octets, 32,768 flows, and the collector's share
	if highest > heap.HeapAlloc+bound || after > before+bound {
		t.Errorf("memory grew by more than %d KB", bound>>10)
	}
}
