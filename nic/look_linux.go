package nic

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// ifAddr is one address of an interface.
type ifAddr struct {
	index  int
	prefix netip.Prefix
	flags  uint32 // IFA_F_
}

// look asks the kernel for what a monitor means, that is for the present whatever event led to it.
func (r *rtnl) look(m Monitor, p past) (s sight, err error) {
	for range dumpTries {
		if s, err = r.lookOnce(m, p); !errors.Is(err, errVanished) {
			break
		}
	}
	return s, err
}

// errVanished: an interface had the address and was gone when it was asked for.
var errVanished = errors.New("interface vanished")

func (r *rtnl) lookOnce(m Monitor, p past) (s sight, err error) {
	if m.Link != "" {
		if s.link, err = r.linkNamed(m.Link); err != nil {
			return s, err
		}
		if s.link != nil && m.Address.IsValid() {
			s.carries, _, s.again, err = r.owner(m.Address, s.link.index)
		}
	} else {
		var index int
		if s.carries, index, s.again, err = r.ownerAnywhere(m.Address, p.index); err != nil {
			return s, err
		}
		if index != 0 {
			if s.link, err = r.linkAt(index); err == nil && s.link == nil {
				err = errVanished
			}
		}
	}
	if err != nil {
		return s, err
	}
	if s.link == nil {
		if p.index != 0 {
			s.old, err = r.linkAt(p.index)
		}
		return s, err
	}
	if m.Gateway.IsValid() {
		s.from, err = r.sender(m, s.link.index)
	}
	return s, err
}

// ownerAnywhere finds the interface with an address: the one that had it before if it still has it, else one where it's usable,
// rather another than the loopback interface.
func (r *rtnl) ownerAnywhere(a netip.Addr, before int) (best carriage, index int, again bool, err error) {
	if before != 0 {
		if best, _, again, err = r.owner(a, before); err != nil || best != carriesNot {
			return best, before, again, err
		}
	}
	return r.owner(a, 0)
}

// owner finds an address at an interface, or at any if index is 0.
func (r *rtnl) owner(a netip.Addr, index int) (best carriage, at int, again bool, err error) {
	all, whole, err := r.addresses(index, a.Is6())
	if err != nil {
		return carriesNot, 0, false, err
	}
	for _, x := range all {
		if x.prefix.Addr() != a {
			continue
		}
		if c := x.carriage(); c > best || c == best && at == loopbackIndex {
			best, at = c, x.index
		}
	}
	return best, at, !whole, nil
}

const loopbackIndex = 1 // of "lo", in every namespace

func (a ifAddr) carriage() carriage {
	switch {
	case a.flags&unix.IFA_F_DADFAILED != 0:
		return carriesDuplicate
	case a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0:
		return carriesTentative
	}
	return carriesIt
}

// sender chooses the address from which the gateway is asked. For IPv4 it may be 0.0.0.0, which every host answers to (RFC 5227 §1.1).
func (r *rtnl) sender(m Monitor, index int) (netip.Addr, error) {
	all, _, err := r.addresses(index, m.Gateway.Is6())
	if err != nil {
		return netip.Addr{}, err
	}
	from, rank := netip.Addr{}, 0
	if m.Gateway.Is4() {
		from = netip.IPv4Unspecified()
	}
	for _, x := range all {
		a, how := x.prefix.Addr(), 0
		switch {
		case x.carriage() != carriesIt:
		case a.Is6() && a.IsLinkLocalUnicast():
			how = 3
		case a == m.Address:
			how = 2
		case x.prefix.Contains(m.Gateway):
			how = 1
		}
		if how > rank {
			from, rank = a, how
		}
	}
	return from, nil
}

// addresses lists those of an interface, or of all if index is 0.
func (r *rtnl) addresses(index int, v6 bool) (all []ifAddr, whole bool, err error) {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0] = unix.AF_INET
	if v6 {
		body[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	whole, err = r.list(unix.RTM_GETADDR, body, func() { all = all[:0] }, func(b []byte) {
		if a, ok := parseAddr(b); ok && (index == 0 || a.index == index) {
			all = append(all, a)
		}
	})
	if errors.Is(err, unix.ENODEV) { // there is no such interface any more
		return nil, true, nil
	}
	return all, whole, err
}

// parseAddr reads an address message.
func parseAddr(b []byte) (a ifAddr, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, false
	}
	a.flags, a.index = uint32(b[2]), int(binary.NativeEndian.Uint32(b[4:]))
	var ip netip.Addr
	local := false
	for kind, value := range attributes(b[unix.SizeofIfAddrmsg:]) {
		switch {
		case kind == unix.IFA_LOCAL: // where both are there, IFA_ADDRESS is the other end of a point-to-point link
			ip, local = addrFrom(value), true
		case kind == unix.IFA_ADDRESS && !local:
			ip = addrFrom(value)
		case kind == unix.IFA_FLAGS && len(value) >= 4:
			a.flags = binary.NativeEndian.Uint32(value)
		}
	}
	a.prefix = netip.PrefixFrom(ip, int(b[1]))
	return a, a.prefix.IsValid()
}

func addrFrom(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// linkNamed gives the interface of that name, nil if there is none.
func (r *rtnl) linkNamed(name string) (*link, error) {
	kind := uint16(unix.IFLA_IFNAME)
	if len(name) >= unix.IFNAMSIZ {
		kind = unix.IFLA_ALT_IFNAME
	}
	return r.link(0, attribute(nil, kind, append([]byte(name), 0)))
}

// linkAt gives the interface of that index, nil if there is none.
func (r *rtnl) linkAt(index int) (*link, error) { return r.link(index, nil) }

func (r *rtnl) link(index int, which []byte) (l *link, err error) {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	body = append(body, which...)
	body = attribute(body, unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, filterSkipStats))
	below := 0
	_, err = r.call(unix.RTM_GETLINK, 0, body, func(b []byte) { l, below = parseLink(b) })
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, nil
	case err != nil:
		return nil, err
	case l == nil:
		return nil, errors.New("the kernel's answer is cut off")
	}
	if below == 0 || l.oper == operUp {
		return l, nil
	}
	lower, err := r.linkAt(below) // its own lower link is of no interest, and there are few layers
	if lower != nil && (lower.flags&flagUp == 0 || !lower.carrier()) {
		l.below = lower.name
	}
	return l, err
}

// parseLink reads a link message. below is the index of the interface that it is stacked on, if that's in this namespace.
func parseLink(b []byte) (l *link, below int) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, 0
	}
	l = &link{index: int(binary.NativeEndian.Uint32(b[4:])), flags: binary.NativeEndian.Uint32(b[8:])}
	ether := binary.NativeEndian.Uint16(b[2:]) == unix.ARPHRD_ETHER
	lower, elsewhere := 0, false
	for kind, value := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch {
		case kind == unix.IFLA_IFNAME:
			l.name = strings.TrimRight(string(value), "\x00")
		case kind == unix.IFLA_OPERSTATE && len(value) >= 1:
			l.oper = operState(value[0])
		case kind == unix.IFLA_ADDRESS && len(value) == len(l.mac):
			l.ether, l.mac = ether, [6]byte(value)
		case kind == unix.IFLA_LINK && len(value) >= 4:
			lower = int(binary.NativeEndian.Uint32(value))
		case kind == unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case kind == unix.IFLA_LINKINFO:
			for inner, v := range attributes(value) {
				if inner == unix.IFLA_INFO_KIND {
					l.kind = strings.TrimRight(string(v), "\x00")
				}
			}
		}
	}
	switch l.kind {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
		if !elsewhere {
			below = lower
		}
	}
	return l, below
}
