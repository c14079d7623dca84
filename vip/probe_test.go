package vip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// echo answers UDP at both service addresses, whether they are up or not, until the test ends.
func (h host) echo(t testing.TB) {
	t.Helper()
	for _, p := range group {
		h.echoAt(t, p.Addr().String())
	}
}

func (h host) echoAt(t testing.TB, addr string) {
	t.Helper()
	var conn net.PacketConn
	h.do(t, func() (err error) {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
				unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			})
		}}
		conn, err = lc.ListenPacket(context.Background(), "udp", net.JoinHostPort(addr, "5060"))
		return err
	})
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				conn.WriteTo(b[:n], from) // fails while the gate is closed
			}
		}
	}()
	t.Cleanup(func() { conn.Close() })
}

// client asks an echo server.
type client struct {
	conn *net.UDPConn
	n    byte
}

func (h host) client(t testing.TB, to netip.Addr) *client {
	t.Helper()
	c := &client{}
	h.do(t, func() (err error) {
		c.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 5060)))
		return err
	})
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// ask reports whether an answer to a question of now comes within patience.
func (c *client) ask(patience time.Duration) bool {
	c.n++
	if _, err := c.conn.Write([]byte{c.n}); err != nil {
		return false // an ICMP error for an older question, or no neighbour
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 16)
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			return false
		}
		if n == 1 && b[0] == c.n {
			return true
		}
	}
}

// sniffer sees every frame that arrives at the host's wire.
type sniffer struct{ fd int }

func (h host) sniff(t testing.TB) *sniffer {
	t.Helper()
	s := &sniffer{}
	h.do(t, func() error {
		l, err := netlink.LinkByName(wire)
		if err != nil {
			return err
		}
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		// What the host itself floods the network with leaves no room for what arrives.
		unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: l.Attrs().Index})
	})
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// next gives the next arriving frame that ok accepts, or nil after patience.
func (s *sniffer) next(patience time.Duration, ok func([]byte) bool) []byte {
	end := time.Now().Add(patience)
	b := make([]byte, 2048)
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		tv := unix.NsecToTimeval(int64(left))
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil {
			continue
		}
		if ll, is := from.(*unix.SockaddrLinklayer); is && ll.Pkttype != unix.PACKET_OUTGOING && ok(b[:n]) {
			return bytes.Clone(b[:n])
		}
	}
}
