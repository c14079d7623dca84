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
// It does not decide who is primary and does not probe whether the address is reachable.
package vip
