package main

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// timerB is how long a client waits for any answer to an INVITE (RFC 3261 17.1.1.2: 64*T1).
	timerB      = 32 * time.Second
	mostInvites = 1 << 14 // at 500 INVITEs a second that nobody answers; those beyond are not noted
)

// invites are those that the SIP server has sent and that nobody has answered in any way. Moments are of one clock, whichever.
type invites struct {
	seed maphash.Seed

	mu   sync.Mutex
	open map[uint64]invite // by a hash of the branch
}

type invite struct {
	to netip.AddrPort
	at time.Duration // when it was sent first
}

func newInvites() *invites { return &invites{seed: maphash.MakeSeed(), open: map[uint64]invite{}} }

// sent notes an INVITE; one that is sent again is noted already.
func (v *invites) sent(branch []byte, to netip.AddrPort, at time.Duration) {
	key := maphash.Bytes(v.seed, branch)
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.open[key]; !known && len(v.open) < mostInvites {
		v.open[key] = invite{to: to, at: at}
	}
}

// answered notes a response of any kind, also to the CANCEL that shares the branch: whoever sent it lives.
func (v *invites) answered(branch []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.open) > 0 {
		delete(v.open, maphash.Bytes(v.seed, branch))
	}
}

// expired gives where those went whose time is over, and forgets them.
func (v *invites) expired(now time.Duration) []netip.AddrPort {
	v.mu.Lock()
	defer v.mu.Unlock()
	var to []netip.AddrPort
	for key, i := range v.open {
		if now-i.at >= timerB {
			delete(v.open, key)
			to = append(to, i.to)
		}
	}
	return to
}
