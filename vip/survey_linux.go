package vip

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// survey is what the kernel lists of the addresses and the interfaces.
type survey struct {
	link   link // of the interface; index 0: there is none
	own    map[MAC]bool
	places map[spot]bool
	source map[bool]netip.Addr // an address of the interface that is none of the group, by whether it is IPv6
}

func (a *addresses) survey() (survey, error) {
	s := survey{own: map[MAC]bool{}, places: map[spot]bool{}, source: map[bool]netip.Addr{}}
	links, err := a.handle.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return s, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		attrs := l.Attrs()
		if mac := macOf(attrs.HardwareAddr); !mac.IsZero() {
			s.own[mac] = true
		}
		if attrs.Name == a.name {
			s.link.index = attrs.Index
			if len(attrs.HardwareAddr) == 6 && attrs.RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) == 0 {
				s.link.mac = attrs.HardwareAddr
			}
		}
	}
	all, err := a.all()
	if err != nil {
		return s, err
	}
	group := map[netip.Addr]bool{}
	for _, p := range a.group {
		group[p.Addr()] = true
	}
	for _, found := range all {
		ip, ok := netip.AddrFromSlice(found.IP)
		ip = ip.Unmap()
		switch {
		case !ok:
		case group[ip]:
			bits, _ := found.Mask.Size()
			if found.Flags&unix.IFA_F_DADFAILED == 0 {
				s.places[spot{ip, found.LinkIndex, bits}] = true
			}
		case found.LinkIndex == s.link.index && !s.source[ip.Is6()].IsValid():
			s.source[ip.Is6()] = ip
		}
	}
	return s, nil
}

// neighbours gives the kernel's neighbour table of all interfaces.
func (a *addresses) neighbours() ([]neighbour, error) {
	all, err := a.handle.NeighList(0, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	var found []neighbour
	for _, n := range all {
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			found = append(found, neighbourIs(ip.Unmap(), n.LinkIndex, macOf(n.HardwareAddr), uint16(n.State)))
		}
	}
	return found, nil
}
