// Package nic watches the network interfaces that a member depends on: whether the interface that carries an address is there,
// administratively up and has a carrier, and, where that is wanted, whether its gateway still answers ARP or neighbour solicitations.
//
// It promises a report at start and one for every change, as soon as the kernel tells, and none twice. It polls nothing but the
// gateway. An event is taken for a hint only: what counts is what the kernel answers when it is asked afterwards, so events may be old,
// doubled or lost. A carrier has to be away for a moment until that counts; an interface that flaps counts as down until it has been up
// for a while. Nothing else is delayed unless the options say so. Bonds, bridges, VLANs and macvlans are judged by their own operational
// state, which the kernel derives from the interfaces below: a bond is up with one live slave, a bridge with one forwarding port, a VLAN or
// macvlan with its parent.
//
// The kernel tells of a lost carrier at once, but of at most one such batch per second and namespace where the interface is not
// stacked on another (linkwatch): a second loss within that second is heard of when it is over.
//
// It doesn't see what only the other end knows: a switch that forwards nothing, an address in use twice under IPv4.
package nic
