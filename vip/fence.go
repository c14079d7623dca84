package vip

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// The gate is a set in the kernel whose elements expire. While an address is an element, packets for it pass; when the element is gone,
// they are dropped. Elements are refreshed by packets (gate_linux.go), and a rule that refreshes has a fixed timeout. So there is a
// ladder of rules with falling timeouts, and each refresh picks the highest that certainly ends before the lease does.

// rung is one refreshing rule: an element armed by it lives for Timeout, so the lease must last for Needs more.
type rung struct {
	needs   time.Duration
	timeout time.Duration // whole milliseconds
}

// rungShares are the shares of a usual lease that the rungs need. The first leaves 3 % for the round trip of a renewal.
var rungShares = [...]float64{0.97, 0.92, 0.85, 0.75, 0.65, 0.50, 0.35, 0.20}

const (
	// Element timeouts count jiffies, which follow CLOCK_MONOTONIC: chrony may slow it by 8.33 % (maxslewrate) while the lease runs
	// on the raw clock. So a timeout T may last T/(1-0.0833).
	gateStretch = 1 / (1 - 0.0834)
	// The kernel rounds timeouts down to jiffies; this covers a tick that is handled late.
	gateSlack = 2 * time.Millisecond
	// A timeout that rounds to zero jiffies would never expire. The longest jiffy is 10 ms (HZ=100).
	gateFloor = 12 * time.Millisecond
)

// ladder gives the rungs for a usual lease, highest first. It is never empty for a lease that options accept.
func ladder(lease time.Duration) []rung {
	var rungs []rung
	for _, share := range rungShares {
		needs := time.Duration(float64(lease) * share)
		timeout := time.Duration(float64(needs-gateSlack) / gateStretch).Truncate(time.Millisecond)
		if timeout >= gateFloor {
			rungs = append(rungs, rung{needs: needs, timeout: timeout})
		}
	}
	return rungs
}

// pick gives the highest rung for a lease that lasts for another left, or -1 if it ends too soon for any.
func pick(rungs []rung, left time.Duration) int {
	for i, r := range rungs {
		if r.needs <= left {
			return i
		}
	}
	return -1
}

// tableName is the name of the cluster's nftables tables: letters, digits and underscores. Different clusters get different names.
func tableName(cluster string) string {
	const limit = 64
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, cluster)
	if clean == cluster && len(clean) <= limit {
		return "understudy_" + clean
	}
	h := fnv.New32a()
	h.Write([]byte(cluster)) //nolint:errcheck // a hash never fails
	return fmt.Sprintf("understudy_%.*s_%08x", limit, clean, h.Sum32())
}
