package vip

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The rules are such that `nft list ruleset` prints what `nft -f` reads: hosts that save and restore their ruleset so keep working.
// As nft prints them (v4 only, shortened):
//
//	table inet understudy_pbx {
//		set service4 { type ipv4_addr; elements = { 192.0.2.10 } }
//		set lease4 { type ipv4_addr; flags dynamic,timeout }
//		chain in { type filter hook prerouting priority -310
//			ip daddr @service4 fib daddr type local ip daddr != @lease4 counter drop
//		}
//		chain out { type filter hook output priority 200
//			ip saddr @service4 ip saddr != @lease4 counter drop
//		}
//		chain post { type filter hook postrouting priority 200
//			ip saddr @service4 fib saddr type local ip saddr != @lease4 counter drop
//		}
//		chain loop { type filter hook output priority -450
//			oif lo meta l4proto 253 jump refresh
//		}
//		chain refresh {
//			meta mark 0x9a3c5e00 delete @lease4 { ip saddr } drop
//			meta mark 0x9a3c5e01 update @lease4 { ip saddr timeout 131ms } drop
//		}
//	}
//	table arp understudy_pbx: the same for ARP that is sent from a service address; refreshed by frames that arrive on lo.
//
// Why so:
//   - in: before connection tracking and address translation, so that ports published by a container engine are closed too; but only
//     what belongs to this host, because the containers on a backup shall reach the primary.
//   - out: whatever this host sends from the address, also while it doesn't have it, and so the kernel's neighbour advertisements.
//   - post: what it forwards from behind address translation, for the reason given with in.
//   - refresh: the sender hears EPERM when its packet was dropped here, and so knows that the rules are there.

// Priorities and numbers that the rules use.
const (
	priorityIn   = -310 // before raw (-300) and connection tracking
	priorityOut  = 200  // after source address translation (100)
	priorityLoop = -450 // before anybody else would drop the refreshing packets
	protocolLoop = 253  // reserved for experiments (RFC 3692): nothing else sends it
	leaseSize    = 1024 // expired elements count until they are collected
	dynsetDelete = 2    // NFT_DYNSET_OP_DELETE, since Linux 5.4; x/sys/unix lacks it
)

// family is what differs between IPv4 and IPv6 in the rules.
type family struct {
	digit    string
	nfproto  byte
	key      nftables.SetDatatype
	src, dst uint32 // offsets in the network header
	group    []netip.Addr
}

func (g *gate) families() []family {
	var f []family
	if len(g.v4) > 0 {
		f = append(f, family{"4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 16, g.v4})
	}
	if len(g.v6) > 0 {
		f = append(f, family{"6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24, g.v6})
	}
	return f
}

// leases gives the sets whose elements expire.
func (g *gate) leases() []*nftables.Set {
	var sets []*nftables.Set
	for _, f := range g.families() {
		sets = append(sets, f.lease(g.inet()))
		if f.nfproto == unix.NFPROTO_IPV4 {
			sets = append(sets, f.lease(g.arp()))
		}
	}
	return sets
}

func (f family) service(t *nftables.Table) (*nftables.Set, []nftables.SetElement) {
	var elements []nftables.SetElement
	for _, a := range f.group {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return &nftables.Set{Table: t, Name: "service" + f.digit, KeyType: f.key, KeyByteOrder: binaryutil.BigEndian}, elements
}

func (f family) lease(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: "lease" + f.digit, KeyType: f.key, KeyByteOrder: binaryutil.BigEndian,
		HasTimeout: true, Dynamic: true, Size: leaseSize}
}

func (g *gate) inetRules(c *nftables.Conn) error {
	t := c.AddTable(g.inet())
	in := base(c, t, "in", *nftables.ChainHookPrerouting, priorityIn)
	out := base(c, t, "out", *nftables.ChainHookOutput, priorityOut)
	post := base(c, t, "post", *nftables.ChainHookPostrouting, priorityOut)
	loop := base(c, t, "loop", *nftables.ChainHookOutput, priorityLoop)
	refresh := c.AddChain(&nftables.Chain{Name: "refresh", Table: t})
	rule(c, loop, join(meta(expr.MetaKeyOIF, native(g.port.loopback)),
		meta(expr.MetaKeyL4PROTO, []byte{protocolLoop}), jump("refresh")))
	for _, f := range g.families() {
		service, group := f.service(t)
		if err := c.AddSet(service, group); err != nil {
			return err
		}
		if err := c.AddSet(f.lease(t), nil); err != nil {
			return err
		}
		proto := meta(expr.MetaKeyNFPROTO, []byte{f.nfproto})
		to, from := f.load(f.dst), f.load(f.src)
		theirs, closed := f.lookup("service", false), join(f.lookup("lease", true), drop())
		rule(c, in, join(proto, to, theirs, local(&expr.Fib{FlagDADDR: true}), to, closed))
		rule(c, out, join(proto, from, theirs, from, closed))
		rule(c, post, join(proto, from, theirs, local(&expr.Fib{FlagSADDR: true}), from, closed))
		g.refreshRules(c, refresh, proto, from, f)
	}
	return nil
}

func (g *gate) arpRules(c *nftables.Conn) error {
	t := c.AddTable(g.arp())
	f := g.families()[0]
	f.src = 14 // sender protocol address of ARP for IPv4 over Ethernet
	service, group := f.service(t)
	if err := c.AddSet(service, group); err != nil {
		return err
	}
	if err := c.AddSet(f.lease(t), nil); err != nil {
		return err
	}
	out := base(c, t, "out", hookARPOut, priorityOut)
	loop := base(c, t, "loop", hookARPIn, priorityLoop)
	refresh := c.AddChain(&nftables.Chain{Name: "refresh", Table: t})
	from := f.load(f.src)
	rule(c, out, join(from, f.lookup("service", false), from, f.lookup("lease", true), drop()))
	rule(c, loop, join(meta(expr.MetaKeyIIF, native(g.port.loopback)), jump("refresh")))
	g.refreshRules(c, refresh, nil, from, f)
	return nil
}

// refreshRules: the mark says which rule a packet is for, the address that it comes from is the element.
func (g *gate) refreshRules(c *nftables.Conn, chain *nftables.Chain, proto, from []expr.Any, f family) {
	for i := range len(g.rungs) + 1 {
		d := &expr.Dynset{SrcRegKey: 1, SetName: "lease" + f.digit, Operation: dynsetDelete}
		if i > 0 {
			d.Operation, d.Timeout = uint32(unix.NFT_DYNSET_OP_UPDATE), g.rungs[i-1].timeout
		}
		rule(c, chain, join(proto, meta(expr.MetaKeyMARK, native(g.mark+uint32(i))), from, []expr.Any{d}, drop()))
	}
}

// ARP hooks, which number differently from those of IP (linux/netfilter_arp.h).
const (
	hookARPIn  nftables.ChainHook = 0
	hookARPOut nftables.ChainHook = 1
)

func base(c *nftables.Conn, t *nftables.Table, name string, hook nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return c.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: &hook, Priority: &priority})
}

func rule(c *nftables.Conn, chain *nftables.Chain, exprs []expr.Any) {
	c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs})
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func meta(key expr.MetaKey, value []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}}
}

func (f family) load(offset uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.key.Bytes}}
}

func (f family) lookup(set string, invert bool) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set + f.digit, Invert: invert}}
}

// local matches if the address that f names is one of this host's.
func local(f *expr.Fib) []expr.Any {
	f.Register, f.ResultADDRTYPE = 1, true
	return []expr.Any{f, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native(unix.RTN_LOCAL)}}
}

func drop() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
