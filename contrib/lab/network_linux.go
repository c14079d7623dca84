package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostSysctls make a fresh namespace behave like a host whose addresses have been there for a while. Servers may bind the service
// address before they have it, as every guide to such pairs has it.
var hostSysctls = map[string]string{
	"net/ipv4/ip_nonlocal_bind":                  "1",
	"net/ipv6/ip_nonlocal_bind":                  "1",
	"net/ipv6/conf/default/accept_dad":           "0",
	"net/ipv6/conf/default/accept_ra":            "0",
	"net/ipv6/conf/default/router_solicitations": "0",
}

// buildNetwork makes the bridges and connects every host to them.
func (l *Lab) buildNetwork() error {
	off := false
	if err := l.sw.sysctl(map[string]string{"net/ipv6/conf/default/disable_ipv6": "1"}); err != nil {
		return err
	}
	for _, n := range []Network{Management, SIP} {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: string(n)}, MulticastSnooping: &off}
		if err := l.sw.nl.LinkAdd(bridge); err != nil {
			return fmt.Errorf("add bridge %s: %w", n, err)
		}
		if err := l.sw.nl.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("set bridge %s up: %w", n, err)
		}
	}
	for _, h := range l.hosts {
		if err := h.sysctl(hostSysctls); err != nil {
			return err
		}
		if err := h.setLink("lo", true); err != nil {
			return err
		}
	}
	for _, leg := range legs {
		if err := l.connect(leg); err != nil {
			return err
		}
	}
	return nil
}

// connect lays the cable of one leg and gives the host its addresses there.
func (l *Lab) connect(leg leg) error {
	host := l.hosts[leg.host]
	bridge, err := l.sw.nl.LinkByName(string(leg.network))
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", leg.network, err)
	}
	var fd int
	err = host.Do(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("open the namespace of host %s: %w", leg.host, err)
	}
	defer unix.Close(fd)
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: leg.port(), MasterIndex: bridge.Attrs().Index},
		PeerName:  leg.link(), PeerHardwareAddr: leg.mac(), PeerNamespace: netlink.NsFd(fd),
	}
	if err := l.sw.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add cable %s: %w", leg.port(), err)
	}
	if err := l.sw.setLink(leg.port(), true); err != nil {
		return err
	}
	return host.raise(leg)
}

// raise sets the host's end of a leg up and gives it the addresses that are missing: the kernel takes IPv6 addresses away with the link.
func (h *Host) raise(leg leg) error {
	if err := h.setLink(leg.link(), true); err != nil {
		return err
	}
	link, err := h.nl.LinkByName(leg.link())
	if err != nil {
		return fmt.Errorf("find %s at host %s: %w", leg.link(), h.Name, err)
	}
	for _, p := range []netip.Prefix{netip.PrefixFrom(leg.addr(), 24), netip.PrefixFrom(leg.addr6(), 64)} {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.nl.AddrReplace(link, a); err != nil {
			return fmt.Errorf("add %s to %s at host %s: %w", p, leg.link(), h.Name, err)
		}
	}
	return nil
}

// setLink sets an interface of the host up or down.
func (h *Host) setLink(name string, up bool) error {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s at %s: %w", name, h.Name, err)
	}
	set := h.nl.LinkSetDown
	if up {
		set = h.nl.LinkSetUp
	}
	if err := set(link); err != nil {
		return fmt.Errorf("set %s at %s up=%t: %w", name, h.Name, up, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
