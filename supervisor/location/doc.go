// Package location holds what a registrar knows: the Contacts of each address of record, with all that is needed to reach them as the
// registrar itself would (RFC 3261, section 10; Path: RFC 3327; instances and flows: RFC 5626). It is data, without I/O and without a clock.
//
// A Registration is what one REGISTER and its answer say; Merge makes the new state of its address of record from it.
//
// Those who learn bindings (from the wire, from a server) make records, the store in raftstore/bindings compares and replicates them,
// and those who write them to the other server read them.
package location
