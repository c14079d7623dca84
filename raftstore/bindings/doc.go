// Package bindings keeps the registrations of both members of a pair the same.
//
// The unit is an address of record with all its bindings and a version (epoch and count), not an operation: a removal is an absence. The
// primary's table is the truth of its epoch; what a former primary had not yet told is joined with it, binding by binding, when the two
// meet. Records go over a stream of their own, never through the Raft log: role decisions must not queue behind a flood. Digests prove
// that both tables are equal, all the time, and find what is not.
package bindings
