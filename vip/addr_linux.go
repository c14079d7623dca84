package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addresses adds and removes the group by netlink. Not safe for concurrent use.
type addresses struct {
	handle *netlink.Handle
	name   string // of the interface
	group  []netip.Prefix
	finite bool // give the addresses a lifetime, so that the kernel removes them when nobody refreshes them
}

// lifetime of an address in seconds, from each refresh on. One second would end between two refreshes of a busy host.
const lifetime = 2

// lifetimeForever is the kernel's INFINITY_LIFE_TIME.
const lifetimeForever = 0xffffffff

// link is what announcements need to know of the interface.
type link struct {
	index int
	mac   net.HardwareAddr // empty: it has no Ethernet addresses, so nothing is announced
}

// errTooLate says that the lease ended before the address was added.
var errTooLate = errors.New("the lease ended meanwhile")

// openAddresses opens a socket in the network namespace of the calling thread.
func openAddresses(name string, group []netip.Prefix, finite bool) (*addresses, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := h.SetSocketTimeout(netlinkPatience); err != nil {
		h.Close()
		return nil, fmt.Errorf("set netlink timeout: %w", err)
	}
	return &addresses{handle: h, name: name, group: group, finite: finite}, nil
}

func (a *addresses) close() { a.handle.Close() }

// link finds the interface, which must be up.
func (a *addresses) link() (link, error) {
	l, err := a.handle.LinkByName(a.name)
	if errors.As(err, &netlink.LinkNotFoundError{}) || errors.Is(err, unix.ENODEV) {
		return link{}, fmt.Errorf("interface %s does not exist: create it, or correct its name: %w", a.name, unix.ENODEV)
	}
	if err != nil {
		return link{}, fmt.Errorf("find interface %s: %w", a.name, err)
	}
	attrs := l.Attrs()
	if attrs.Flags&net.FlagUp == 0 {
		return link{}, fmt.Errorf("interface %s is down (ip link set %s up): %w", a.name, a.name, unix.ENETDOWN)
	}
	found := link{index: attrs.Index}
	if len(attrs.HardwareAddr) == 6 && attrs.RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) == 0 {
		found.mac = attrs.HardwareAddr
	}
	return found, nil
}

// put adds all addresses or refreshes their lifetimes. late is asked before each: nothing is added after the lease. If one of the
// group can't be added, none of those that it added stays.
func (a *addresses) put(late func() bool) (link, error) {
	l, err := a.link()
	if err != nil {
		return l, err
	}
	return l, a.place(l, a.group, late)
}

func (a *addresses) place(l link, group []netip.Prefix, late func() bool) error {
	for i, p := range group {
		err := errTooLate
		if !late() {
			err = a.handle.AddrReplace(nil, a.describe(l, p))
		}
		if err == nil {
			continue
		}
		for _, q := range group[:i] {
			err = errors.Join(err, a.take(l.index, q))
		}
		switch {
		case errors.Is(err, unix.EACCES) && p.Addr().Is6():
			return fmt.Errorf("add %s to %s (sysctl net.ipv6.conf.%s.disable_ipv6=0): %w", p, a.name, a.name, err)
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("add %s to %s: CAP_NET_ADMIN is needed: %w", p, a.name, err)
		}
		return fmt.Errorf("add %s to %s: %w", p, a.name, err)
	}
	return nil
}

// describe gives an address as it shall be. IPv6: usable at once, without duplicate address detection, which takes a second and fails
// while the old primary still answers; deprecated, so that nothing picks it as its source by itself.
func (a *addresses) describe(l link, p netip.Prefix) *netlink.Addr {
	d := &netlink.Addr{IPNet: ipnet(p), LinkIndex: l.index, ValidLft: lifetimeForever, PreferedLft: lifetimeForever}
	if a.finite {
		d.ValidLft, d.PreferedLft = lifetime, lifetime
	}
	if p.Addr().Is6() {
		d.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
		d.PreferedLft = 0
	}
	return d
}

// check adds those of the group that are missing and gives their number.
func (a *addresses) check(late func() bool) (link, int, error) {
	l, err := a.link()
	if err != nil {
		return l, 0, err
	}
	there, err := a.list()
	if err != nil {
		return l, 0, err
	}
	var missing []netip.Prefix
	for _, p := range a.group {
		if !onLink(there[p.Addr()], l.index) {
			missing = append(missing, p)
		}
	}
	return l, len(missing), a.place(l, missing, late)
}

// remove removes the addresses wherever they are, whatever their prefix, and gives the number of those that were there.
func (a *addresses) remove() (int, error) {
	there, err := a.list()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range a.group {
		for _, place := range there[p.Addr()] {
			n++
			err = errors.Join(err, a.take(place.link, place.prefix))
		}
	}
	return n, err
}

func (a *addresses) take(index int, p netip.Prefix) error {
	err := a.handle.AddrDel(nil, &netlink.Addr{IPNet: ipnet(p), LinkIndex: index})
	switch {
	case err == nil, errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENODEV): // gone meanwhile, alone or with its interface
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("remove %s: CAP_NET_ADMIN is needed: %w", p, err)
	}
	return fmt.Errorf("remove %s: %w", p, err)
}

// place is where an address is found.
type place struct {
	link   int
	prefix netip.Prefix
}

func onLink(places []place, index int) bool {
	for _, p := range places {
		if p.link == index {
			return true
		}
	}
	return false
}

// list finds the addresses of the group on all interfaces.
func (a *addresses) list() (map[netip.Addr][]place, error) {
	mine := map[netip.Addr][]place{}
	for _, p := range a.group {
		mine[p.Addr()] = nil
	}
	all, err := a.all()
	if err != nil {
		return nil, err
	}
	for _, found := range all {
		ip, ok := netip.AddrFromSlice(found.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		if _, ours := mine[ip]; ours {
			bits, _ := found.Mask.Size()
			mine[ip] = append(mine[ip], place{found.LinkIndex, netip.PrefixFrom(ip, bits)})
		}
	}
	return mine, nil
}

// all gives every address of this host.
func (a *addresses) all() (all []netlink.Addr, err error) {
	err = netlink.ErrDumpInterrupted
	for range 10 { // the list changed while it was read
		if all, err = a.handle.AddrList(nil, unix.AF_UNSPEC); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return all, nil
}

// present tells which of the group are on the interface.
func (a *addresses) present() (map[netip.Prefix]bool, error) {
	there, err := a.list()
	if err != nil {
		return nil, err
	}
	l, err := a.handle.LinkByName(a.name)
	is := map[netip.Prefix]bool{}
	for _, p := range a.group {
		is[p] = err == nil && onLink(there[p.Addr()], l.Attrs().Index)
	}
	return is, nil
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// lateAfter gives put's late for a lease that ends at until, which may be extended while put runs.
func lateAfter(clock func() time.Duration, until func() time.Duration) func() bool {
	return func() bool { return clock() >= until() }
}
