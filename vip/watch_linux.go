package vip

import (
	"encoding/binary"
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
	socket, err := subscribe(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("subscribe to address and link events: %w", err)
	}
	w := &watcher{
		socket:  socket,
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
	lost := func() { w.note(changes{added: true, removed: true, link: true}) }
	if err := readEvents(w.socket, w.message, lost); err != nil {
		return fmt.Errorf("read address and link events: %w", err)
	}
	return nil
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
