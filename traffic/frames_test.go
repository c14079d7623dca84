package traffic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inject sends frames from the far host to this one as they are, tags and all.
func (h far) inject(t testing.TB, frames ...[]byte) {
	t.Helper()
	to, err := netlink.LinkByName(wire)
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		at := &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}
		for _, f := range frames {
			head := append(bytes.Clone(to.Attrs().HardwareAddr), l.Attrs().HardwareAddr...)
			if err := unix.Sendto(fd, append(head, f...), 0, at); err != nil {
				return err
			}
		}
		return nil
	})
}

func ether(kind uint16, b []byte) []byte { return append([]byte{byte(kind >> 8), byte(kind)}, b...) }

// fragments4 makes IPv4 fragments of a datagram, last one first.
func fragments4(id uint16, payload []byte, size int) (all [][]byte) {
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		b := ip(there, here, unix.IPPROTO_UDP, nil, payload[at:end])
		binary.BigEndian.PutUint16(b[4:], id)
		flags := uint16(at / 8)
		if end < len(payload) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], flags)
		all = append([][]byte{ether(unix.ETH_P_IP, b)}, all...)
	}
	return all
}

// The filter in the kernel and the decoder agree about what is ours: tags, extension headers and fragments pass, other ports and other
// hosts' packets do not.
func TestMonitor_frames(t *testing.T) {
	h := newFar(t)
	m := run(t, standard())
	h6, t6 := netip.MustParseAddr(here6), netip.MustParseAddr(there6)
	invite := func(id string) string { return request("INVITE", id, 1) }
	v4 := func(src, dst netip.Addr, sport, dport uint16, text string) []byte {
		return ip(src, dst, unix.IPPROTO_UDP, nil, udp(sport, dport, text))
	}
	v6 := func(first uint8, extensions ...byte) []byte {
		return ip(t6, h6, first, extensions, udp(5060, 5060, invite("v6")))
	}
	hop := []byte{unix.IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}
	big := strings.Replace(invite("big"), "Content-Length: 0\r\n\r\n", "Content-Length: 5000\r\n\r\n"+strings.Repeat("x", 5000), 1)
	options := append([]byte{0x46}, v4(there, here, 5060, 5060, invite("opt"))...)
	options = append(append(options[:1:1], options[2:21]...), append([]byte{1, 1, 1, 0}, options[21:]...)...)
	binary.BigEndian.PutUint16(options[2:], uint16(len(options)))
	other := netip.MustParseAddr("10.77.0.9")

	good := [][]byte{
		ether(unix.ETH_P_IP, v4(there, here, 5060, 5060, invite("plain"))),
		ether(unix.ETH_P_IP, v4(there, here, 5060, 40000, response(200, "INVITE", "ours", 1))), // to a client of this host
		ether(unix.ETH_P_IP, v4(there, netip.MustParseAddr(service), 40000, 5060, invite("service"))),
		ether(unix.ETH_P_IP, options),
		ether(unix.ETH_P_8021Q, tag(v4(there, here, 5060, 5060, invite("tagged")), unix.ETH_P_IP)),
		ether(unix.ETH_P_8021AD, tag(tag(v4(there, here, 5060, 5060, invite("twice")), unix.ETH_P_IP), unix.ETH_P_8021Q)),
		ether(unix.ETH_P_8021AD, tag(tag(v6(unix.IPPROTO_UDP), unix.ETH_P_IPV6), unix.ETH_P_8021Q)),
		ether(unix.ETH_P_IPV6, v6(unix.IPPROTO_UDP)),
		ether(unix.ETH_P_IPV6, v6(unix.IPPROTO_HOPOPTS, hop...)),
		ether(unix.ETH_P_IPV6, v6(unix.IPPROTO_FRAGMENT, unix.IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 9)),
	}
	sent := len(good) + 1
	good = append(good, fragments4(77, udp(5060, 5060, big), 1480)...)
	bad := [][]byte{
		ether(unix.ETH_P_IP, v4(there, here, 40000, 40001, invite("ports"))),
		ether(unix.ETH_P_IP, v4(there, other, 5060, 5060, invite("host"))),
		ether(unix.ETH_P_IP, v4(here, there, 5060, 5060, invite("backwards"))), // passes through: not to us
		ether(unix.ETH_P_IPV6, ip(t6, netip.MustParseAddr("fd77::9"), unix.IPPROTO_UDP, nil, udp(5060, 5060, invite("host6")))),
		ether(unix.ETH_P_ARP, make([]byte, 28)),
		ether(unix.ETH_P_IP, v4(there, here, 5060, 5060, invite("short"))[:60]),
	}
	bad = append(bad, fragments4(78, udp(5060, 5060, big), 1480)[1:]...) // without its last
	h.inject(t, good...)
	h.inject(t, bad...)
	s := settled(t, m, h)
	if got := s.In.Total() - 1; got != uint64(sent) || s.ParseErrors != 0 || s.Out.Total() != 0 || s.Local != 0 {
		t.Errorf("got %d messages, %d parse errors, %d out, want %d in and nothing else", got, s.ParseErrors, s.Out.Total(), sent)
	}
}

// A filter of the largest size is one that the kernel takes.
func TestFilter_largest(t *testing.T) {
	newFar(t)
	o := standard()
	o.Addresses, o.Ports = nil, nil
	for i := range maxAddresses {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if i%2 == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
		}
		o.Addresses = append(o.Addresses, a)
	}
	for i := len(o.TLSPorts) + len(o.WSPorts); i < maxPorts; i++ {
		o.Ports = append(o.Ports, uint16(10_000+i))
	}
	run(t, o)
}

// What cannot work is refused, all of it at once.
func TestNew_refuses(t *testing.T) {
	o := DefaultOptions()
	o.Interfaces = []string{"eth0", "eth0", "a-name-that-is-too-long"}
	o.Addresses = []netip.Addr{netip.IPv4Unspecified(), {}}
	o.Ports, o.WSPorts = []uint16{5060, 5061}, []uint16{0}
	o.Patience, o.Silence, o.Logger = 0, 0, nil
	_, err := New(o)
	if err == nil {
		t.Fatal("New: got nil, want an error")
	}
	for _, want := range []string{
		"eth0 is given twice", "a-name-that-is-too-long", "0.0.0.0", "invalid IP", "port 5061 is given twice", "port 0", "patience", "silence", "logger",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not tell %q:\n%v", want, err)
		}
	}
	if _, err := New(DefaultOptions()); err == nil || !strings.Contains(err.Error(), "neither an interface") {
		t.Errorf("New without a source: got %v", err)
	}
}

// A packet socket that this process may not open is an error that says so, not a crash; the attempts are spaced.
func TestCapture_unknownInterface(t *testing.T) {
	c := newCapture("none0", filter{}, nil, nil)
	if err := c.open(nil, nil); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("open: got %v", err)
	}
	m, err := New(standard())
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	m.report = func(Event) { told++ }
	k := &keeper{m: m, source: c}
	now, attempts := sec, 0
	for end := now + 60*sec; now < end; now += 10 * 1e6 {
		before := k.retry
		if k.start(now); k.retry != before {
			attempts++
		}
	}
	if told != 1 || attempts < 55 || attempts > 70 {
		t.Errorf("told %d times, tried %d times within a minute, want once and some 63 times", told, attempts)
	}
}
