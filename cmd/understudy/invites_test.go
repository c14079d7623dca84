package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// An INVITE that nobody answers counts against its device after 32 s, once, however often it was sent; one with any answer never does.
func TestInvites(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.50:5060")
	v := newInvites()
	v.sent([]byte("z9hG4bK-dead"), to, 0)
	v.sent([]byte("z9hG4bK-live"), to, 0)
	v.sent([]byte("z9hG4bK-dead"), to, 16*time.Second)
	v.answered([]byte("z9hG4bK-live"))
	v.answered([]byte("z9hG4bK-other"))
	if got := v.expired(timerB - 1); len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	if got := v.expired(timerB); !slices.Equal(got, []netip.AddrPort{to}) {
		t.Errorf("got %v, want the one", got)
	}
	if got := v.expired(2 * timerB); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	for i := range 2 * mostInvites {
		v.sent(fmt.Append(nil, i), to, 0)
	}
	if got := len(v.open); got != mostInvites {
		t.Errorf("a flood makes %d, want at most %d", got, mostInvites)
	}
}
