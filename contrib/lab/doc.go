// Package lab builds a pair of SIP servers with its witness and a client out of network namespaces, breaks it in the ways in which
// such pairs break, and measures what a client notices.
//
// Hosts a and b run a SIP server and a sidecar each (understudy, or keepalived to compare with), w runs a witness and c is the
// client. Each of a, b and w has a leg in a management network and one in a SIP network, c in the SIP network only; the bridges of
// both live in a namespace of their own, the switch, so that a cable can be pulled at the far end.
//
// Isolate moves the running program into namespaces of its own, as root or as an ordinary user. Everything that a lab creates lives in
// there: when the program ends, however it ends, the kernel removes it all.
//
// The lab measures; it does not judge. It knows what a fault is expected to do (Fault.Expect) but reports whatever happened.
package lab
