// Package raw makes the few system calls that a node makes hundreds of times a second: sending and receiving a lease message, a probe
// or a refresh of the gate, reading the clock, setting the alarm.
//
// None of them ever waits, so Go's scheduler need not know of them: a call that it knows of wakes its monitor thread, which costs more
// than the call. For the same reason a Poller and not Go's own poller waits for them: that one also wakes up for every datagram that
// has left, and twice for every timer, because it counts in whole milliseconds. What a node costs while nothing happens is mostly the
// number of times that it wakes up.
package raw
