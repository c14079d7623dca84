// Package supervisor decides which member of a pair is primary.
//
// It holds the words of the project (nodes, roles, epochs, reasons), the replicated role record, the majority lease and the pure
// decision core: Core.Step takes the present moment and one event and returns what the world shall look like. The one goroutine
// that drives it is Runner. Nothing here does I/O, reads a clock or logs; adapters do, and cmd wires them to the core.
//
// Promise: at no moment do two nodes hold an unexpired lease, whatever the network, the disks and the scheduler do, as long as the
// rates of the nodes' raw monotonic clocks differ by less than Timing.Drift says. DESIGN.md argues why.
//
// It does not observe SIP, touch addresses or store anything.
package supervisor
