package vip

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// addressMessage is an event of the kernel about an address.
func addressMessage(kind uint16, p netip.Prefix, link int, flags uint32) syscall.NetlinkMessage {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[1] = byte(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(link))
	attribute := func(kind uint16, value []byte) {
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	}
	attribute(unix.IFA_ADDRESS, netip.MustParseAddr("10.9.9.9").AsSlice()) // the other end of a point-to-point link
	attribute(unix.IFA_LOCAL, p.Addr().AsSlice())
	attribute(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags))
	return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: b}
}

// Present means on the interface, absent means nowhere; what is gone and back within one batch of events was gone.
func TestLedger(t *testing.T) {
	other := netip.MustParsePrefix("10.77.0.1/24")
	l := ledger{name: wire, group: group, index: 7, places: map[spot]bool{}}
	for i, step := range []struct {
		kind             uint16
		p                netip.Prefix
		link             int
		flags            uint32
		changes          bool
		missing, present int
	}{
		{unix.RTM_NEWADDR, vip4, 7, unix.IFA_F_PERMANENT, true, 1, 1},
		{unix.RTM_NEWADDR, vip4, 7, 0, false, 1, 1}, // a refresh
		{unix.RTM_NEWADDR, other, 7, 0, false, 1, 1},
		{unix.RTM_NEWADDR, vip6, 8, 0, true, 1, 2}, // on another interface
		{unix.RTM_NEWADDR, vip6, 7, unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED, false, 1, 2},
		{unix.RTM_NEWADDR, vip6, 7, unix.IFA_F_NODAD, true, 0, 2},
		{unix.RTM_NEWADDR, netip.PrefixFrom(vip4.Addr(), 24), 7, 0, true, 0, 2}, // the same with another prefix
		{unix.RTM_DELADDR, vip4, 7, 0, true, 0, 2},
		{unix.RTM_DELADDR, vip4, 7, 0, false, 0, 2},
		{unix.RTM_DELADDR, netip.PrefixFrom(vip4.Addr(), 24), 7, 0, true, 1, 1},
		{unix.RTM_NEWADDR, vip6, 7, unix.IFA_F_DADFAILED, true, 2, 1},
		{unix.RTM_DELADDR, vip6, 8, 0, true, 2, 0},
	} {
		h, ok := parseEvent(addressMessage(step.kind, step.p, step.link, step.flags))
		if !ok || h.kind != addressChanged || h.address.address != step.p.Addr() {
			t.Fatalf("step %d: parsed as %+v", i, h)
		}
		if got := l.apply(h.address); got != step.changes {
			t.Errorf("step %d: changes %v", i, got)
		}
		if missing, there := l.wrong(true), l.wrong(false); len(missing) != step.missing || len(there) != step.present {
			t.Errorf("step %d: missing %v, present %v", i, missing, there)
		}
	}
	if !slices.Equal(l.wrong(true), []netip.Addr{vip4.Addr(), vip6.Addr()}) {
		t.Errorf("in the end missing %v", l.wrong(true))
	}
}
