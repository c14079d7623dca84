package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
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

// serviceAddrs are the service addresses as the kernel wants them; the IPv6 one at once, without asking who else has it.
func serviceAddrs() []*netlink.Addr {
	return []*netlink.Addr{
		{IPNet: ipNet(netip.PrefixFrom(ServiceAddress, 32))},
		{IPNet: ipNet(netip.PrefixFrom(ServiceAddress6, 128)), Flags: unix.IFA_F_NODAD},
	}
}
