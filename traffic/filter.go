package traffic

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter says which packets the kernel passes on: TCP and UDP from or to one of the addresses and from or to one of the ports. A
// fragment without ports, and an IPv6 packet whose ports lie behind other headers, pass by their addresses alone.
type filter struct {
	addrs    []netip.Addr
	ports    []uint16
	loopback bool // each packet passes there twice: once is enough
}

// snapLength is more than any packet has, super-packets of segmentation offload included.
const snapLength = 1 << 18

// compile gives the filter as classic BPF for a socket that delivers from the network header on.
func (f filter) compile() ([]bpf.RawInstruction, error) {
	a := assembler{labels: map[string]int{}, jumps: map[int]string{}}
	if f.loopback {
		a.add(bpf.LoadExtension{Num: bpf.ExtType})
		a.jumpIf(bpf.JumpEqual, unix.PACKET_OUTGOING, "drop")
	}
	a.add(bpf.LoadExtension{Num: bpf.ExtProto})
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_IP, "ip4@0")
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_IPV6, "ip6@0")
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_8021Q, "tag")
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_8021AD, "tag")
	a.jump("drop")
	a.label("tag") // the kernel took one tag away, this is a second one
	a.add(bpf.LoadAbsolute{Off: 2, Size: 2})
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_IP, "ip4@4")
	a.jumpIf(bpf.JumpEqual, unix.ETH_P_IPV6, "ip6@4")
	a.jump("drop")
	for _, base := range []uint32{0, tagLength} {
		f.ip4(&a, base)
		f.ip6(&a, base)
	}
	a.label("drop")
	a.add(bpf.RetConstant{Val: 0})
	a.label("accept")
	a.add(bpf.RetConstant{Val: snapLength})
	return a.assemble()
}

func (f filter) ip4(a *assembler, base uint32) {
	at := func(name string) string { return fmt.Sprintf("%s@%d", name, base) }
	a.label(at("ip4"))
	a.add(bpf.LoadAbsolute{Off: base + 9, Size: 1})
	a.jumpIf(bpf.JumpEqual, unix.IPPROTO_UDP, at("transport4"))
	a.jumpIf(bpf.JumpEqual, unix.IPPROTO_TCP, at("transport4"))
	a.jump("drop")
	a.label(at("transport4"))
	for _, off := range []uint32{12, 16} { // source, destination
		a.add(bpf.LoadAbsolute{Off: base + off, Size: 4})
		for _, addr := range f.addrs {
			if addr.Is4() {
				b := addr.As4()
				a.jumpIf(bpf.JumpEqual, binary.BigEndian.Uint32(b[:]), at("ours4"))
			}
		}
	}
	a.jump("drop")
	a.label(at("ours4"))
	a.add(bpf.LoadAbsolute{Off: base + 6, Size: 2})
	a.jumpIf(bpf.JumpBitsSet, 0x1fff, "accept") // a fragment other than the first has no ports
	a.add(bpf.LoadMemShift{Off: base})          // X: length of the header
	for _, off := range []uint32{0, 2} {
		a.add(bpf.LoadIndirect{Off: base + off, Size: 2})
		f.match(a)
	}
	a.jump("drop")
}

func (f filter) ip6(a *assembler, base uint32) {
	at := func(name string) string { return fmt.Sprintf("%s@%d", name, base) }
	a.label(at("ip6"))
	for _, off := range []uint32{8, 24} { // source, destination
		for i, addr := range f.addrs {
			if !addr.Is6() {
				continue
			}
			next := at(fmt.Sprintf("not%d-%d", off, i))
			b := addr.As16()
			for word := uint32(0); word < 16; word += 4 {
				a.add(bpf.LoadAbsolute{Off: base + off + word, Size: 4})
				a.jumpIf(bpf.JumpNotEqual, binary.BigEndian.Uint32(b[word:]), next)
			}
			a.jump(at("ours6"))
			a.label(next)
		}
	}
	a.jump("drop")
	a.label(at("ours6"))
	a.add(bpf.LoadAbsolute{Off: base + 6, Size: 1})
	a.jumpIf(bpf.JumpEqual, unix.IPPROTO_UDP, at("ports6"))
	a.jumpIf(bpf.JumpEqual, unix.IPPROTO_TCP, at("ports6"))
	for _, extension := range []uint32{unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_FRAGMENT, unix.IPPROTO_AH, unix.IPPROTO_DSTOPTS, unix.IPPROTO_MH} {
		a.jumpIf(bpf.JumpEqual, extension, "accept")
	}
	a.jump("drop")
	a.label(at("ports6"))
	for _, off := range []uint32{40, 42} {
		a.add(bpf.LoadAbsolute{Off: base + off, Size: 2})
		f.match(a)
	}
	a.jump("drop")
}

// match accepts if the accumulator is one of the ports.
func (f filter) match(a *assembler) {
	for _, p := range f.ports {
		a.jumpIf(bpf.JumpEqual, uint32(p), "accept")
	}
}

// assembler resolves forward jumps of any distance. BPF's conditional ones reach no farther than 255 instructions.
type assembler struct {
	code   []bpf.Instruction
	labels map[string]int
	jumps  map[int]string
}

func (a *assembler) add(i bpf.Instruction) { a.code = append(a.code, i) }

func (a *assembler) label(name string) { a.labels[name] = len(a.code) }

func (a *assembler) jump(to string) {
	a.jumps[len(a.code)] = to
	a.add(bpf.Jump{})
}

func (a *assembler) jumpIf(test bpf.JumpTest, value uint32, to string) {
	a.add(bpf.JumpIf{Cond: test, Val: value, SkipFalse: 1})
	a.jump(to)
}

func (a *assembler) assemble() ([]bpf.RawInstruction, error) {
	for i, name := range a.jumps {
		to, ok := a.labels[name]
		if !ok || to <= i {
			panic("traffic: no label " + name + " ahead")
		}
		a.code[i] = bpf.Jump{Skip: uint32(to - i - 1)}
	}
	return bpf.Assemble(a.code)
}
