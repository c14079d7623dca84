package raftstore

import (
	"maps"
	"slices"
	"strings"

	"github.com/understudy-sip/understudy/supervisor"
)

// sortedIDs are the names of a set of nodes in the order in which they are always written.
func sortedIDs[V any](m map[supervisor.NodeID]V) []supervisor.NodeID {
	return slices.Sorted(maps.Keys(m))
}

func joinNames(ids []supervisor.NodeID) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return strings.Join(out, ", ")
}

func compareIDs(a, b supervisor.NodeID) int { return strings.Compare(string(a), string(b)) }
