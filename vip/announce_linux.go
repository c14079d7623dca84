package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// announcer sends announcements. Not safe for concurrent use.
type announcer struct {
	fd    int
	group []netip.Prefix

	link   link
	frames [][]byte
}

// openAnnouncer opens a packet socket in the network namespace of the calling thread.
func openAnnouncer(group []netip.Prefix) (*announcer, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // protocol 0: receives nothing
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open packet socket: CAP_NET_RAW is needed: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	return &announcer{fd: fd, group: group}, nil
}

func (a *announcer) close() { unix.Close(a.fd) } //nolint:errcheck // nothing was buffered

// use prepares the frames for an interface.
func (a *announcer) use(l link) {
	if l.index == a.link.index && string(l.mac) == string(a.link.mac) {
		return
	}
	a.link = link{l.index, append(net.HardwareAddr(nil), l.mac...)}
	a.frames = nil
	for _, p := range a.group {
		if len(l.mac) == 6 {
			a.frames = append(a.frames, announcement(p.Addr(), a.link.mac)...)
		}
	}
}

// send announces all addresses. stop is asked before each frame, because the process may have been frozen since it was decided to send.
func (a *announcer) send(stop func() bool) error { return a.emit(a.frames, stop) }

func (a *announcer) emit(frames [][]byte, stop func() bool) error {
	to := &unix.SockaddrLinklayer{Ifindex: a.link.index}
	for _, f := range frames {
		if stop() {
			return nil
		}
		if err := unix.Sendto(a.fd, f, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: as if lost on the wire
			return fmt.Errorf("announce the address: %w", err)
		}
	}
	return nil
}
