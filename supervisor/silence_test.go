package supervisor

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watch has a member's sensors tell, ten times a second, that all devices are out of service and when they last heard anything.
func (s *seat) watch(period time.Duration, heard func() time.Duration) (stop func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				s.runner.Post(Sensed{Server: View{Class: ClassServing}, Traffic: Traffic{
					Watched: true, Period: period, AllOut: true, Heard: heard(), At: s.p.now().Mono,
				}})
			}
		}
	}()
	return func() { tick.Stop(); close(done) }
}

// The role moves at P, 2P, 4P, 6P, 10P, 14P, 18P while no SIP message reaches either member, and stays from the first one on: S4-08 to
// S4-26. A witness that restarts in between makes no difference.
func TestSilence_timeline(t *testing.T) {
	const period = 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.wantHolder("a")
		start := p.now().Mono
		var heard atomic.Int64 // when b heard something
		heard.Store(int64(start))
		defer p.seats["a"].watch(period, func() time.Duration { return start })()
		defer p.seats["b"].watch(period, func() time.Duration { return time.Duration(heard.Load()) })()
		var moves []time.Duration
		holder := NodeID("a")
		for time.Duration(len(moves)) < 7 {
			time.Sleep(10 * time.Millisecond)
			if hs := p.holders(); len(hs) == 1 && hs[0] != holder {
				holder = hs[0]
				moves = append(moves, p.now().Mono-start)
				if len(moves) == 3 {
					p.restart("w")
				}
			}
			if p.now().Mono-start > 22*period {
				break
			}
		}
		want := []time.Duration{1, 2, 4, 6, 10, 14, 18}
		if len(moves) != len(want) {
			t.Fatalf("the role moved %d times, want %d: %v", len(moves), len(want), moves)
		}
		for i, m := range moves {
			if late := m - want[i]*period; late < 0 || late > time.Duration(i+1)*200*time.Millisecond {
				t.Errorf("move %d at %v, want %v", i+1, m, want[i]*period)
			}
		}
		p.wantHolder("b")

		time.Sleep(3 * period)
		heard.Store(int64(p.now().Mono))
		time.Sleep(time.Second)
		p.mu.Lock()
		left := len(p.record.Doubling)
		p.mu.Unlock()
		if left != 0 {
			t.Error("a message came and the earlier switchovers are still counted")
		}
		time.Sleep(period / 2)
		p.wantHolder("b")
	})
}

// A primary that hears nothing stays where nobody can take over, says so, and is well again with the first message.
func TestSilence_alone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.seats["b"].runner.Post(Sensed{Server: View{Class: ClassDead}, Reasons: []Reason{ReasonServerDead}})
		heard := p.now().Mono
		stop := p.seats["a"].watch(4*time.Second, func() time.Duration { return heard })
		defer func() { stop() }()
		time.Sleep(10 * time.Second)
		p.wantHolder("a")
		if got := p.reasons("a"); !slices.Contains(got, ReasonSilence) {
			t.Errorf("reasons: got %v, want %s", got, ReasonSilence)
		}
		stop()
		stop = p.seats["a"].watch(4*time.Second, func() time.Duration { return p.now().Mono })
		time.Sleep(time.Second)
		if got := p.reasons("a"); len(got) != 0 {
			t.Errorf("reasons: got %v, want none", got)
		}
	})
}

// One device that answers, or one message, prevents the switchover.
func TestSilence_needsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		for _, tr := range []Traffic{
			{Watched: true, Period: time.Second, AllOut: false, At: time.Hour},
			{Watched: true, Period: time.Hour, AllOut: true, At: 30 * time.Minute},
			{Watched: false, Period: time.Second, AllOut: true, At: time.Hour},
			{Watched: true, Period: time.Second, AllOut: true, Heard: time.Hour, At: time.Hour},
		} {
			p.seats["a"].runner.Post(Sensed{Server: View{Class: ClassServing}, Traffic: tr})
			time.Sleep(5 * time.Second)
			p.wantHolder("a")
		}
	})
}

// Where nothing listens on either member the role goes to and fro, ever more slowly, until one of them can: S4-36 to S4-38.
func TestListener_turns(t *testing.T) {
	const wait = bindWait
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		time.Sleep(5 * time.Second)
		p.wantHolder("a")
		deaf := func(id NodeID) {
			p.seats[id].runner.Post(Sensed{Server: View{Class: ClassDead}, Reasons: []Reason{ReasonListener}, Deaf: p.now().Mono})
		}
		deaf("b")
		time.Sleep(time.Second)
		p.wantHolder("a") // it has somebody who listens
		deaf("a")
		start := p.now().Mono
		var moves []time.Duration
		last := NodeID("a")
		for p.now().Mono-start < 13*wait {
			time.Sleep(50 * time.Millisecond)
			p.mu.Lock()
			now := p.record.Primary
			p.mu.Unlock()
			if now != last {
				last = now
				moves = append(moves, p.now().Mono-start)
			}
		}
		want := []time.Duration{1, 2, 4, 6, 10} // times W, then the rule of the double switchover
		if len(moves) != len(want) {
			t.Fatalf("the role moved at %v, want about %v s", moves, want)
		}
		for i, m := range moves {
			if late := m - want[i]*wait; late < 0 || late > time.Duration(i+1)*200*time.Millisecond {
				t.Errorf("move %d at %v, want %v", i+1, m, want[i]*wait)
			}
		}
		p.seats["a"].runner.Post(Sensed{Server: View{Class: ClassServing}})
		time.Sleep(time.Second)
		p.wantHolder("a")
		time.Sleep(time.Second)
		p.mu.Lock()
		left := len(p.record.Doubling)
		p.mu.Unlock()
		if left != 0 {
			t.Error("the primary listens and the earlier switchovers are still counted")
		}
	})
}
