// Package vip makes the service address follow the primary: it adds the address to this host, announces it to the neighbours, and
// takes it away again.
//
// VIP does so by netlink, Script by running the operator's scripts, Fake in memory for tests. All three take the desired state as a
// level (Set) and reconcile until it is true.
//
// Promises of VIP:
//   - The address is never served after Hold.Until. The effector drops it then by a timer of its own, and the kernel closes it even
//     when the process is frozen or dead: with FenceNftables before that moment, with FenceLifetime at most about two seconds later.
//   - On the way down the gate closes first, then the addresses go, then it is reported. On the way up the gate opens last, for all
//     addresses of the group at once, and is announced only after that.
//   - Nothing is done for an epoch older than the newest seen.
//   - An address that somebody else removes while it is held comes back within milliseconds.
//
// What it needs: CAP_NET_ADMIN and CAP_NET_RAW; sockets of the families inet, inet6, netlink and packet; the loopback interface up. The
// nftables fence needs Linux 5.4 with nf_tables, inet, arp and fib; where something is missing, FenceLifetime remains.
//
// What it leaves: when Run ends, nothing. When the process is killed, the addresses until their lifetime ends (2 s) and the nftables
// tables "understudy_CLUSTER", closed; the next start replaces them. While they stand, nobody can use the addresses on this host.
//
// What it can't do: an announcement whose sending the process was frozen in the middle of (some 100 ns) goes out after the thaw,
// because frames of packet sockets don't pass the fence. In a VRF the fence drops what is sent from the address, not what arrives.
//
// Monitor looks after what VIP or Script did: it compares the addresses of the host with the role by kernel events, has them repaired,
// answers other hosts that claim them, and tells neighbours again that have a wrong MAC. Neighbours tells it, on the other nodes, which
// MAC their kernels have. Both are passive but for announcements of a holder.
//
// It does not decide who is primary and does not probe whether the address is reachable.
package vip
