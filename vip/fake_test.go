package vip

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// The fake behaves as VIP does: takes, drops at the end of the lease, ignores older epochs, reports failures.
func TestFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		clock := func() time.Duration { return time.Since(start) }
		said := newReports()
		f := NewFake(supervisor.FenceNftables, clock, said.add, group...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()

		f.Set(supervisor.Hold{Held: true, Epoch: 2, Until: 150 * ms})
		synctest.Wait()
		if got, want := f.String(), "10.77.0.100/32 fd77::100/128"; got != want {
			t.Errorf("up: %q, want %q", got, want)
		}
		f.Set(supervisor.Hold{Held: true, Epoch: 1, Until: time.Hour})
		time.Sleep(150 * ms)
		synctest.Wait()
		if got, _ := f.Present(); f.String() != "" || got[vip4] {
			t.Errorf("after the lease: %q", f)
		}
		f.FailWith(errDenied)
		f.Set(supervisor.Hold{Held: true, Epoch: 3, Until: time.Hour})
		said.await(t, "an error", func(r supervisor.AddressReport) bool { return errors.Is(r.Err, errDenied) })
		f.FailWith(nil)
		said.await(t, "held", held(3))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := "held=true epoch=2, held=false epoch=2, held=false epoch=3, held=true epoch=3, held=false epoch=3"
		if got := strings.Join(f.History(), ", "); got != want {
			t.Errorf("history %s, want %s", got, want)
		}
	})
}
