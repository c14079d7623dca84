package nic

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

var epoch = time.Unix(1_000_000, 0)

// drive lets the interface change at the given moments, beginning with up, and time pass until end. It gives the changes of the
// verdict as "+" or "-" with their moments, and "~" where flapping begins, "=" where it ends.
func drive(d *damper, end time.Duration, changes ...time.Duration) (trace []string) {
	now, up := epoch, true
	verdict, flapping := false, false
	note := func() {
		at := now.Sub(epoch)
		if d.flapping != flapping {
			flapping = d.flapping
			trace = append(trace, map[bool]string{true: "~", false: "="}[flapping]+at.String())
		}
		if d.verdict != verdict {
			verdict = d.verdict
			trace = append(trace, map[bool]string{true: "+", false: "-"}[verdict]+at.String())
		}
	}
	pass := func(to time.Time) {
		for next := d.next(); !next.IsZero() && next.Before(to); next = d.next() {
			now = next
			d.tick(now)
			note()
		}
		now = to
	}
	d.see(now, up)
	note()
	for _, at := range changes {
		pass(epoch.Add(at))
		up = !up
		d.see(now, up)
		d.see(now, up) // the same again is nothing
		note()
	}
	pass(epoch.Add(end))
	d.tick(now)
	note()
	return trace
}

// Down at once, up at once; only what flaps must be up for a while before it counts, and longer each time that it flaps again.
func TestDamper(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name     string
		down, up time.Duration
		end      time.Duration
		changes  []time.Duration
		want     string
	}{
		{"steady", 0, 2 * s, 60 * s, nil, "[+0s]"},
		{"lost and back", 0, 2 * s, 60 * s, []time.Duration{s, 2 * s}, "[+0s -1s +2s]"},
		{"lost for good", 0, 2 * s, 60 * s, []time.Duration{s}, "[+0s -1s]"},
		{"third change within the window", 0, 2 * s, 60 * s, []time.Duration{s, 2 * s, 3 * s, 4 * s}, "[+0s -1s +2s ~3s -3s =6s +6s]"},
		{"third change too late", 0, 2 * s, 60 * s, []time.Duration{s, 2 * s, 12 * s, 13 * s}, "[+0s -1s +2s -12s +13s]"},
		{"spaced out", 0, 2 * s, 60 * s, []time.Duration{s, 6 * s, 12 * s, 18 * s, 24 * s}, "[+0s -1s +6s -12s +18s -24s]"},
		{"short ups don't count", 0, 2 * s, 60 * s, []time.Duration{s, s + ms, s + 2*ms, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s}, "[+0s -1s +1.001s ~1.002s -1.002s =8s +8s]"},
		{"ends down", 0, 2 * s, 60 * s, []time.Duration{s, 2 * s, 3 * s}, "[+0s -1s +2s ~3s -3s =13s]"},
		{"not damped", 0, 0, 60 * s, []time.Duration{s, 2 * s, 3 * s, 4 * s}, "[+0s -1s +2s -3s +4s]"},
		{"blip within the debounce", s, 2 * s, 60 * s, []time.Duration{s, s + 900*ms}, "[+0s]"},
		{"longer than the debounce", s, 2 * s, 60 * s, []time.Duration{s, s + 1100*ms}, "[+0s -2s +2.1s]"},
		{"flaps within the debounce", s, 2 * s, 60 * s,
			[]time.Duration{s, 1100 * ms, 1200 * ms, 1300 * ms, 1400 * ms, 1500 * ms, 5 * s}, "[+0s ~1.2s =3.5s ~5s -6s =15s]"},
		// up for 3 s, down for 0.1 s: held for 2 s, then 4 s, which it never reaches
		{"slow flapping", 0, 2 * s, 13 * s, []time.Duration{s, 1100 * ms, 4100 * ms, 4200 * ms, 7200 * ms, 7300 * ms, 10300 * ms, 10400 * ms},
			"[+0s -1s +1.1s ~4.1s -4.1s =6.2s +6.2s ~7.2s -7.2s]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fmt.Sprint(drive(&damper{down: c.down, up: c.up}, c.end, c.changes...)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// What is no matter of time counts at once, also while a lost carrier is waited for.
func TestDamper_fail(t *testing.T) {
	for _, lost := range []bool{false, true} {
		d := &damper{down: time.Second}
		d.see(epoch, true)
		if lost {
			d.see(epoch.Add(ms), false)
		}
		d.fail(epoch.Add(2 * ms))
		if d.verdict || d.since != epoch.Add(2*ms) {
			t.Errorf("lost %t: got %v since %v, want down at once", lost, d.verdict, d.since)
		}
	}
}

// However it flaps with a period below the window, the verdict changes a few times and then stays down; left alone, it ends up right.
func TestDamper_flapsForHours(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		upFor, downFor := time.Duration(1+r.IntN(8000))*ms, time.Duration(1+r.IntN(1500))*ms
		var changes []time.Duration
		at := time.Duration(0)
		for at < time.Hour {
			changes = append(changes, at+upFor, at+upFor+downFor)
			at += upFor + downFor
		}
		d := &damper{up: 2 * time.Second}
		trace := drive(d, at+time.Minute, changes...)
		verdicts := 0
		for _, x := range trace {
			if x[0] == '+' || x[0] == '-' {
				verdicts++
			}
		}
		if verdicts > 10 || !d.verdict || d.flapping {
			t.Errorf("seed %d, up %v, down %v: got %d verdicts, end %v, flapping %v; want few, up, calm: %v",
				seed, upFor, downFor, verdicts, d.verdict, d.flapping, trace[:min(len(trace), 20)])
		}
	}
}

// Under any stream of changes: never up while it is down for longer than the debounce, never up again in less than the hold while it
// flaps, and at rest the verdict is the truth.
func TestDamper_invariants(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := &damper{down: time.Duration(r.IntN(3)) * 500 * ms, up: time.Duration(r.IntN(4)) * time.Second}
		now, up, changed := epoch, r.IntN(2) == 0, epoch
		d.see(now, up)
		for range 60 {
			wait := time.Duration(r.ExpFloat64() * float64(time.Second))
			for next := d.next(); !next.IsZero() && !next.After(now.Add(wait)); next = d.next() {
				was := d.verdict
				d.tick(next)
				if !was && d.verdict && next.Sub(changed) < d.up {
					t.Fatalf("seed %d: up again after only %v", seed, next.Sub(changed))
				}
			}
			now = now.Add(wait)
			d.tick(now)
			if !up && d.verdict && now.Sub(changed) > d.down {
				t.Fatalf("seed %d: up %v after it went down", seed, now.Sub(changed))
			}
			if !d.flapping && up && !d.verdict {
				t.Fatalf("seed %d: down without a reason", seed)
			}
			up, changed = !up, now
			d.see(now, up)
		}
		for next := d.next(); !next.IsZero(); next = d.next() {
			d.tick(next)
		}
		if d.verdict != up || d.flapping {
			t.Errorf("seed %d: at rest got %v, flapping %v, want %v", seed, d.verdict, d.flapping, up)
		}
	}
}
