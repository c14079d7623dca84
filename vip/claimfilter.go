package vip

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// whole is what a filter says of a frame that is to be read.
const whole = 1 << 18

// otherHost is the packet type of frames to somebody else's MAC or VLAN, and outgoing ones come after it (linux/if_packet.h).
const otherHost = 3

// arriving lets only frames pass that arrive for this host, for all, or for a multicast group: none of its own.
func arriving(rest []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: otherHost, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}, rest...)
}

// arpFilter lets ARP frames pass whose sender has one of the addresses and not our MAC.
func arpFilter(group []netip.Addr, mine MAC) []bpf.Instruction {
	f := []bpf.Instruction{
		bpf.LoadAbsolute{Off: atType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherARP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	f = append(f, unlessMAC(atARPMAC, mine, 0)...)
	f = append(f, bpf.LoadAbsolute{Off: atARPAddr, Size: 4})
	for _, a := range group {
		if a.Is4() {
			f = append(f,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(a.AsSlice()), SkipTrue: 1},
				bpf.RetConstant{Val: whole})
		}
	}
	return append(f, bpf.RetConstant{Val: 0})
}

// unlessMAC ends the filter with verdict if the frame has the MAC at off.
func unlessMAC(off uint32, m MAC, verdict uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: off, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(m[:]), SkipTrue: 3},
		bpf.LoadAbsolute{Off: off + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(binary.BigEndian.Uint16(m[4:])), SkipTrue: 1},
		bpf.RetConstant{Val: verdict},
	}
}

// ndFilter lets advertisements pass whose target is one of the addresses, and solicitations from one of them. Whose MAC they give is
// left to ndClaim, because an option may stand anywhere.
func ndFilter(group []netip.Addr) []bpf.Instruction {
	refuse := func(off uint32, size int, val uint32) []bpf.Instruction {
		return []bpf.Instruction{
			bpf.LoadAbsolute{Off: off, Size: size},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
		}
	}
	f := refuse(atType, 2, etherIPv6)
	f = append(f, refuse(atNext, 1, 58)...)
	f = append(f, refuse(atHops, 1, 255)...)
	targets, sources := addressed(group, atTarget), addressed(group, atIPv6Addr)
	f = append(f,
		bpf.LoadAbsolute{Off: atICMPv6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: neighbourAdvertisement, SkipTrue: 3}, // to targets
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: neighbourSolicitation, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.Jump{Skip: uint32(len(targets))}) // to sources
	f = append(f, targets...)
	return append(f, sources...)
}

// addressed ends the filter: with whole if the frame has one of the IPv6 addresses at off, else with 0.
func addressed(group []netip.Addr, off uint32) []bpf.Instruction {
	var f []bpf.Instruction
	for _, a := range group {
		if !a.Is6() {
			continue
		}
		b := a.As16()
		for i := range uint32(4) {
			f = append(f,
				bpf.LoadAbsolute{Off: off + 4*i, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipTrue: uint8(2*(3-i) + 1)})
		}
		f = append(f, bpf.RetConstant{Val: whole})
	}
	return append(f, bpf.RetConstant{Val: 0})
}
