package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher tells what happens to the addresses and the interface, within some 10 µs. Changes add up until they are taken.
type watcher struct {
	socket *os.File
	name   string
	group  map[netip.Addr]bool
	wake   chan struct{} // holds one token while there is something to take

	mu      sync.Mutex
	pending changes
	running bool // the interface could carry packets when it was last heard of
}

// changes is what happened since the last take.
type changes struct {
	added, removed bool // one of the addresses, on any interface
	link           bool // the interface appeared, disappeared or changed its state
	cameUp         bool // it can carry packets again
}

// openWatcher subscribes in the network namespace of the calling thread.
func openWatcher(name string, group []netip.Prefix) (*watcher, error) {
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd) //nolint:errcheck // never used
		return nil, fmt.Errorf("subscribe to address and link events: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) //nolint:errcheck // less is no error: losses are noticed
	w := &watcher{
		socket:  os.NewFile(uintptr(fd), "netlink"), // non-blocking: close ends a read
		name:    name,
		group:   map[netip.Addr]bool{},
		wake:    make(chan struct{}, 1),
		running: true,
	}
	for _, p := range group {
		w.group[p.Addr()] = true
	}
	return w, nil
}

func (w *watcher) close() error { return w.socket.Close() }

// run reads until close.
func (w *watcher) run() error {
	b := make([]byte, 1<<16)
	for {
		n, err := w.socket.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, unix.ENOBUFS): // the kernel dropped events
			w.note(changes{added: true, removed: true, link: true})
			continue
		case err != nil:
			return fmt.Errorf("read address and link events: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			w.note(changes{added: true, removed: true, link: true})
			continue
		}
		for _, m := range messages {
			w.message(m)
		}
	}
}

func (w *watcher) message(m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg || !w.ours(m.Data[unix.SizeofIfAddrmsg:]) {
			return
		}
		added := m.Header.Type == unix.RTM_NEWADDR
		w.note(changes{added: added, removed: !added})
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg {
			return
		}
		flags := binary.NativeEndian.Uint32(m.Data[8:])
		for kind, value := range attributes(m.Data[unix.SizeofIfInfomsg:]) {
			if kind == unix.IFLA_IFNAME && strings.TrimRight(string(value), "\x00") == w.name {
				w.linkIs(m.Header.Type == unix.RTM_NEWLINK && flags&unix.IFF_RUNNING != 0 && flags&unix.IFF_UP != 0)
			}
		}
	}
}

// ours reports whether the attributes of an address event name one of the group.
func (w *watcher) ours(b []byte) bool {
	for kind, value := range attributes(b) {
		if kind == unix.IFA_LOCAL || kind == unix.IFA_ADDRESS {
			if a, ok := netip.AddrFromSlice(value); ok && w.group[a] {
				return true
			}
		}
	}
	return false
}

func (w *watcher) linkIs(running bool) {
	w.mu.Lock()
	cameUp := running && !w.running
	w.running = running
	w.mu.Unlock()
	w.note(changes{link: true, cameUp: cameUp})
}

func (w *watcher) note(c changes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pending
	p.added, p.removed, p.link, p.cameUp = p.added || c.added, p.removed || c.removed, p.link || c.link, p.cameUp || c.cameUp
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.pending
	w.pending = changes{}
	return c
}

// attributes iterates over the route attributes in b: type and value.
func attributes(b []byte) func(yield func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}
