// Command sim attacks the decision core: it runs three real cores in one simulated world and looks for a moment at which two of them
// hold the role, and for a world at peace in which nobody does.
//
// The world is a discrete-event simulation with a seed: clocks that drift up to the bound, datagrams that are lost, late, doubled and
// reordered, links that fail in either direction, streams that break, a Raft that elects, delays and forgets answers, an effector that
// is slow or fails, processes that crash between two actions or freeze, operators. The same seed gives the same run. What it can't
// show is that hashicorp/raft, the kernel's fence and the transport behave as its model of them says.
package main
