package bindings

import (
	"fmt"

	"github.com/understudy-sip/understudy/supervisor"
)

// Version orders the states of addresses of record: by the epoch in which a state was made, then by a count of its author. Each epoch
// has one primary, so no two members make the same version; the last bit names the author all the same, for those who merge.
type Version uint64

const (
	countBits = 40 // with the author's bit
	maxCount  = 1<<(countBits-1) - 1
	maxEpoch  = 1<<(64-countBits) - 1
)

// Author is a member: 0 or 1, in the order of their names.
type Author uint8

// other is the other member.
func (a Author) other() Author { return 1 - a }

// versionOf is the version with an author's count in an epoch. Neither ends in practice: 16 million switchovers, 500,000 million changes.
func versionOf(epoch supervisor.Epoch, count uint64, by Author) Version {
	return Version(min(uint64(epoch), maxEpoch)<<countBits | min(count, maxCount)<<1 | uint64(by))
}

// Epoch is the epoch in which the state was made.
func (v Version) Epoch() supervisor.Epoch { return supervisor.Epoch(v >> countBits) }

// count is the author's count.
func (v Version) count() uint64 { return uint64(v) >> 1 & maxCount }

// Author is who made the state.
func (v Version) Author() Author { return Author(v & 1) }

// String is epoch and count: "7.1204".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Epoch(), v.count()) }
