package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// touched is what events were about since they were last asked for. They say no more than where to look.
type touched struct {
	all   bool                // events were lost
	links map[int]bool        // interfaces that changed
	at    map[int]bool        // interfaces whose addresses changed
	addrs map[netip.Addr]bool // addresses that changed
	err   error               // there are no more events
}

const (
	eventBuffer = 4 << 20 // some thousand events
	maxTouched  = 4096    // interfaces or addresses; more of them mean all
)

// events hears of changes of interfaces and addresses.
type events struct {
	file   *os.File
	conn   syscall.RawConn
	signal chan struct{} // holds one token while there is something to take

	mu      sync.Mutex
	pending touched
}

// openEvents subscribes in the network namespace of the calling thread.
func openEvents(buffer int) (*events, error) {
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) //nolint:errcheck // less is no error: losses are noticed
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to link and address events: %w", err), unix.Close(fd))
	}
	e := &events{file: os.NewFile(uintptr(fd), "netlink"), signal: make(chan struct{}, 1)}
	if e.conn, err = e.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to link and address events: %w", err), e.file.Close())
	}
	return e, nil
}

func (e *events) close() error { return e.file.Close() }

func (e *events) wake() <-chan struct{} { return e.signal }

// run reads until close.
func (e *events) run() {
	b := make([]byte, 1<<16)
	lost := false
	err := e.conn.Read(func(fd uintptr) bool {
		for {
			n, _, err := unix.Recvfrom(int(fd), b, 0)
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.ENOBUFS):
				// The kernel drops events until everything was read, and doesn't say so again: a look before that may miss one.
				lost = true
			case errors.Is(err, unix.EAGAIN):
				if lost {
					lost = false
					e.note(func(t *touched) { t.all = true })
				}
				return false
			case err != nil:
				e.note(func(t *touched) { t.err = fmt.Errorf("read link and address events: %w", err) })
				return true
			default:
				e.hear(b[:n])
			}
		}
	})
	if err != nil { // also at close, when nobody takes it
		e.note(func(t *touched) { t.err = fmt.Errorf("wait for link and address events: %w", err) })
	}
}

// hear notes what one datagram is about.
func (e *events) hear(b []byte) {
	e.note(func(t *touched) {
		for m := range messages(b) {
			switch m.kind {
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				if len(m.body) >= unix.SizeofIfInfomsg {
					t.links[int(int32(binary.NativeEndian.Uint32(m.body[4:])))] = true
				}
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				if a, ok := parseAddr(m.body); ok {
					t.addrs[a.prefix.Addr()], t.at[a.index] = true, true
				}
			}
		}
		if len(t.links) > maxTouched || len(t.at) > maxTouched || len(t.addrs) > maxTouched {
			t.all = true
		}
	})
}

func (e *events) note(f func(*touched)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending.links == nil {
		e.pending.links, e.pending.at, e.pending.addrs = map[int]bool{}, map[int]bool{}, map[netip.Addr]bool{}
	}
	f(&e.pending)
	if e.pending.all {
		clear(e.pending.links)
		clear(e.pending.at)
		clear(e.pending.addrs)
	}
	select {
	case e.signal <- struct{}{}:
	default:
	}
}

func (e *events) take() touched {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.pending
	e.pending = touched{}
	return t
}
