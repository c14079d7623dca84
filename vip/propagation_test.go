package vip

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// correspondence is a propagation in virtual time, and what it said.
type correspondence struct {
	*propagation
	now  time.Duration
	said []string
}

func newCorrespondence() *correspondence {
	s := &correspondence{propagation: newPropagation(time.Second), now: time.Hour}
	s.use(macA)
	return s
}

func (s *correspondence) note(all []message) {
	for _, m := range all {
		if m.announce {
			s.said = append(s.said, fmt.Sprintf("announce to %v", m.view.FromMAC))
		} else {
			s.said = append(s.said, fmt.Sprintf("%s %v", m.kind, m.view.MAC))
		}
	}
}

func (s *correspondence) role(holds bool) { s.note(s.hold(s.now, holds)) }

func (s *correspondence) views(mac MAC) {
	s.note(s.view(s.now, View{Address: vip4.Addr(), MAC: mac, From: netip.MustParseAddr("10.77.0.2"), FromMAC: macB}))
}

func (s *correspondence) pass(d time.Duration) {
	for end := s.now + d; ; {
		at := s.wakeAt(s.now)
		if at > end {
			s.now = end
			return
		}
		s.now = at
		s.note(s.tick(at))
	}
}

func (s *correspondence) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.said, want) {
		t.Errorf("at %v: %q, want %q", s.now-time.Hour, s.said, want)
	}
	s.said = nil
}

var (
	tellB   = "announce to " + macB.String()
	staleB  = "stale-neighbour " + stranger.String()
	brokenB = "not-propagated " + stranger.String()
)

// A neighbour with another MAC is told three times within three seconds, then that doesn't help; a right view ends it.
func TestPropagation_bounded(t *testing.T) {
	s := newCorrespondence()
	s.role(true)
	s.pass(time.Minute)
	s.views(stranger)
	s.expect(t, staleB, tellB)
	s.pass(2 * time.Second)
	s.expect(t, tellB, tellB)
	s.pass(time.Second)
	s.expect(t, brokenB)
	s.pass(time.Hour)
	s.views(stranger)
	s.expect(t)
	s.views(macA)
	s.expect(t, "neighbour-fine "+macA.String())
}

// A neighbour that is healed by the first try is left alone; one that says wrong things again and again starts an episode in ten seconds.
func TestPropagation_healed(t *testing.T) {
	s := newCorrespondence()
	s.role(true)
	s.pass(time.Minute)
	s.views(stranger)
	s.views(macA)
	s.expect(t, staleB, tellB, "neighbour-fine "+macA.String())
	s.pass(time.Second)
	for range 90 {
		s.views(stranger)
		s.pass(50 * ms)
		s.views(macA)
		s.pass(50 * ms)
	}
	s.expect(t)
	s.views(stranger)
	s.pass(10 * time.Second)
	s.expect(t, staleB, tellB, tellB, tellB, brokenB)
}

// A view from before the role change counts when the announcements have had a second: who didn't hear them says nothing new.
func TestPropagation_oldView(t *testing.T) {
	s := newCorrespondence()
	s.views(stranger)
	s.pass(time.Hour)
	s.expect(t)
	s.role(true)
	s.pass(999 * ms)
	s.expect(t)
	s.pass(ms)
	s.expect(t, staleB, tellB)
	s.role(false)
	s.expect(t, "neighbour-fine "+stranger.String())
	s.pass(time.Hour)
	s.expect(t)
}

// No MAC, our own view, and no MAC of ours: nothing to tell anybody.
func TestPropagation_nothingToTell(t *testing.T) {
	s := newCorrespondence()
	s.role(true)
	s.pass(time.Minute)
	s.views(MAC{})
	s.note(s.view(s.now, View{Address: vip4.Addr(), MAC: stranger, FromMAC: macA}))
	s.use(MAC{})
	s.views(stranger)
	s.pass(time.Hour)
	s.expect(t)
}

// Views of more nodes than there can be fill no memory.
func TestPropagation_memory(t *testing.T) {
	s := newCorrespondence()
	for i := range 1000 {
		s.view(s.now, View{Address: vip4.Addr(), MAC: stranger, FromMAC: MAC{2, 3, 3, 3, byte(i >> 8), byte(i)}})
	}
	if len(s.propagation.views) != outlookLimit {
		t.Errorf("%d views", len(s.propagation.views))
	}
}
