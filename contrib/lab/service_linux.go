package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nft runs a script of nft(8) on a host, in one transaction.
func (l *Lab) nft(host, script string) error {
	program, err := findProgram("nft")
	if err != nil {
		return err
	}
	cmd := exec.Command(program, "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.at(host).Do(cmd.Start); err != nil {
		return fmt.Errorf("run nft at %s: %w", host, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("run nft at %s: %w: %s", host, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// dropService takes the service address and every packet filter from the members: what sidecars that were killed left behind.
func (l *Lab) dropService() error {
	var errs []error
	for _, m := range Members() {
		errs = append(errs, l.nft(m, "flush ruleset\n"), l.SetHolder(m, false))
	}
	return errors.Join(errs...)
}

// SetHolder gives a member the service addresses, or takes them away, as a careless operator would: no other host is told. Doing
// it twice is harmless.
func (l *Lab) SetHolder(member string, held bool) error {
	h := l.hosts[member]
	link, err := h.nl.LinkByName(legOf(member, SIP).link())
	if err != nil {
		return fmt.Errorf("find the SIP interface at %s: %w", member, err)
	}
	for _, a := range serviceAddrs() {
		if held {
			err = h.nl.AddrReplace(link, a)
		} else if err = h.nl.AddrDel(link, a); errors.Is(err, syscall.EADDRNOTAVAIL) {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("set %s at %s held=%t: %w", a.IPNet, member, held, err)
		}
	}
	return nil
}

// misleadNeighbours makes every other host believe that the service addresses are at the member that is not the primary, and that one
// that they are nowhere. The client comes first: as soon as a node of the pair is misled, everybody is told again.
func (l *Lab) misleadNeighbours(primary string) error {
	for _, leg := range slices.Backward(legs) {
		if leg.network != SIP || leg.host == primary {
			continue
		}
		h := l.hosts[leg.host]
		link, err := h.nl.LinkByName(leg.link())
		if err != nil {
			return fmt.Errorf("find the SIP interface at %s: %w", leg.host, err)
		}
		mac := legOf(Peer(primary), SIP).mac()
		if leg.host == Peer(primary) {
			mac = nobody
		}
		for _, a := range []netip.Addr{ServiceAddress, ServiceAddress6} {
			err := h.nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_REACHABLE, IP: a.AsSlice(), HardwareAddr: mac})
			if err != nil {
				return fmt.Errorf("tell %s that %s has %s: %w", leg.host, mac, a, err)
			}
		}
	}
	return nil
}

// serviceAddrs are the service addresses as the kernel wants them; the IPv6 one at once, without asking who else has it.
func serviceAddrs() []*netlink.Addr {
	return []*netlink.Addr{
		{IPNet: ipNet(netip.PrefixFrom(ServiceAddress, 32))},
		{IPNet: ipNet(netip.PrefixFrom(ServiceAddress6, 128)), Flags: unix.IFA_F_NODAD},
	}
}
