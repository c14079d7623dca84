// Package raftstore keeps the role record of a pair and carries the traffic between its three nodes.
//
// It wraps hashicorp/raft and raft-boltdb: Store holds supervisor.Record as the replicated state machine, proposes entries on any
// node, starts an election on demand and moves leadership. One port per node, TCP and UDP, carries three purposes that can't delay
// each other: Raft and control streams over TLS 1.3, told apart by ALPN, and the lease messages as single sealed datagrams. The name
// in a node's certificate is its identity.
//
// Promises: a record reported as synced includes everything that was committed before this process started; nothing that a node has
// voted or acknowledged is forgotten silently, a store that was lost or damaged is named, kept aside and brought up to date by the
// others before the node votes again; a failing or hanging disk takes the vote from a node, never its lease messages. DESIGN.md
// argues why.
//
// It decides nothing: who is primary is the business of package supervisor.
package raftstore
