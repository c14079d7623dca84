package vip

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Up: the gate is proved, the address added behind it, opened, announced, reported. Down: the other way round.
func TestMachine_order(t *testing.T) {
	w := newWorld(t, true)
	w.hold(3, 150*ms)
	w.run(w.now + ms)
	w.expect("close", "put", "arm 131ms", "announce", "report true 3 <nil>", "probe")
	w.set(supervisor.Hold{Epoch: 3})
	w.run(w.now + ms)
	w.expect("close", "remove", "report false 3 <nil>")
}

// Without a gate the same, but for the gate.
func TestMachine_ungated(t *testing.T) {
	w := newWorld(t, false)
	w.hold(3, 150*ms)
	w.run(w.now + ms)
	w.expect("put", "announce", "report true 3 <nil>")
	w.run(w.now + 200*ms)
	w.expect("announce", "remove", "report false 3 <nil>")
}

// A renewal is one refresh of the gate and nothing else; lifetimes and rules are seen to every now and then.
func TestMachine_renewals(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 150*ms)
	w.run(w.now + 10*ms)
	w.trace = nil
	w.hold(1, 150*ms)
	w.expect("arm 131ms")
	counts := map[string]int{}
	for range 500 {
		w.run(w.now + 20*ms)
		w.hold(1, 150*ms)
	}
	for _, what := range w.trace {
		counts[what]++
	}
	if counts["arm 131ms"] != 500 || counts["put"] != 20 || counts["probe"] != 10 || counts["announce"] != 5 || len(counts) != 4 {
		t.Errorf("in 10 s: %v", counts)
	}
}

// Announcements follow the schedule, counted from the moment when the address was up, then the refresh.
func TestMachine_announcements(t *testing.T) {
	w := newWorld(t, true)
	w.cost[put] = 7 * ms
	start := w.now + 7*ms
	w.hold(1, time.Hour)
	var at []time.Duration
	for w.now < start+130*time.Second {
		w.trace = nil
		w.run(w.now + ms)
		for _, what := range w.trace {
			if what == "announce" {
				at = append(at, (w.now - start).Round(10*ms))
			}
		}
	}
	want := append(DefaultOptions().Announce.Schedule, 65*time.Second, 125*time.Second)
	if len(at) != len(want) {
		t.Fatalf("announced at %v, want %v", at, want)
	}
	for i := range want {
		if at[i] != want[i] {
			t.Errorf("announcement %d at %v, want %v", i, at[i], want[i])
		}
	}
}

// A drop that is asked for when the address went down by itself already is confirmed anew, under its own serial.
func TestMachine_dropIsConfirmed(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 50*ms)
	w.run(w.now + 100*ms)
	w.trace = nil
	w.set(supervisor.Hold{Epoch: 1})
	w.expect("report false 1 <nil>")
}

// A lease that ends is a drop, by the machine's own timer; one that is renewed after that is a new take.
func TestMachine_leaseEnds(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 150*ms)
	until := w.m.hold.Until
	w.run(until - 1)
	w.trace = nil
	w.run(until)
	w.run(until + ms)
	w.expect("close", "remove", "report false 1 <nil>")
	w.hold(1, 150*ms)
	w.run(w.now + ms)
	w.expect("close", "put", "arm 131ms", "announce", "report true 1 <nil>")
}

// A lease of which little is left opens the gate for less, and one of which almost nothing is left not at all.
func TestMachine_shortLease(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 80*ms)
	w.run(w.now + ms)
	w.expect("close", "put", "arm 66ms", "announce", "report true 1 <nil>", "probe")
	w.hold(1, 20*ms)
	w.expect("arm closed")
	w.hold(1, 150*ms)
	w.expect("arm 131ms")
}

// A lease longer than any element is kept open by refreshing the gate unasked.
func TestMachine_longLease(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 10*time.Second)
	end := w.m.hold.Until
	w.run(w.now + ms)
	for w.now < end-200*ms {
		w.run(w.now + ms)
		if !w.served() {
			t.Fatalf("closed %v before the end", end-w.now)
		}
	}
	w.run(end)
	if w.served() {
		t.Error("open after the end")
	}
}

// A new epoch of the same holder is reported and announced again; the address isn't touched.
func TestMachine_newEpoch(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 150*ms)
	w.run(w.now + ms)
	w.trace = nil
	w.hold(2, 150*ms)
	w.expect("arm 131ms", "announce", "report true 2 <nil>")
}

// What fails is reported once, tried again with growing intervals, and reported when it works.
func TestMachine_retries(t *testing.T) {
	w := newWorld(t, true)
	w.fail[put] = errDenied
	w.hold(1, time.Hour)
	start := w.now
	w.run(start + 3300*ms)
	w.expect("close", "put", "report false 1 denied", "put", "put", "put", "put", "put", "put")
	w.fail = map[job]error{}
	w.run(start + 3560*ms)
	w.expect("put", "arm 131ms", "announce", "report true 1 <nil>", "probe")
}

// A failure to remove is reported, and tried until it works.
func TestMachine_removalFails(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, 150*ms)
	w.run(w.now + ms)
	w.trace = nil
	w.fail[remove] = errDenied
	w.set(supervisor.Hold{Epoch: 1})
	w.run(w.now + 60*ms)
	w.expect("close", "remove", "report false 1 denied", "remove")
	w.fail = map[job]error{}
	w.run(w.now + time.Second)
	w.expect("remove", "report false 1 <nil>")
}

// A change of circumstances doesn't wait for the back-off.
func TestMachine_linkComesBack(t *testing.T) {
	w := newWorld(t, true)
	w.fail[put] = errDenied
	w.hold(1, time.Hour)
	w.run(w.now + 2*time.Second)
	w.trace, w.fail = nil, map[job]error{}
	w.m.relinked(w.now, true)
	w.run(w.now + ms)
	w.expect("put", "arm 131ms", "announce", "report true 1 <nil>", "probe")
}

// However often link events make it look, the lifetimes are renewed long before they end.
func TestMachine_renewsWhileTheLinkFlaps(t *testing.T) {
	for _, every := range []time.Duration{5 * ms, 100 * ms, 300 * ms, 700 * ms} {
		w := newWorld(t, true)
		w.hold(1, time.Hour)
		w.trace = nil
		last, longest := w.now, time.Duration(0)
		for end := w.now + 10*time.Second; w.now < end; {
			w.m.relinked(w.now, true)
			w.run(w.now + every)
			if slices.Contains(w.trace, "put") {
				longest, last = max(longest, w.now-last), w.now
			}
			w.trace = nil
		}
		if longest = max(longest, w.now-last); longest > 3*renewEvery {
			t.Errorf("a link event every %v: no renewal for %v, and the kernel removes the address after 2s", every, longest)
		}
	}
}

// A held address that disappears is put back at once and announced anew; an event that means nothing costs one look.
func TestMachine_repair(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, time.Hour)
	w.run(w.now + 10*ms)
	w.trace = nil
	w.addrs = false
	w.m.touched(w.now, false, true)
	w.run(w.now + ms)
	w.expect("check", "announce")
	w.m.touched(w.now, false, true)
	w.run(w.now + ms)
	w.expect("check")
	w.m.touched(w.now, true, false)
	w.expect()
}

// Repairs are bounded, with an alarm that ends when the fight does.
func TestMachine_repairsAreBounded(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, time.Hour)
	w.run(w.now + 10*ms)
	w.trace = nil
	checks := 0
	for start := w.now; w.now < start+5*time.Second; w.run(w.now + 10*ms) {
		w.addrs = false
		w.m.touched(w.now, false, true)
	}
	alarms := map[string]int{}
	for _, what := range w.trace {
		alarms[what]++
		if what == "check" {
			checks++
		}
	}
	if checks > repairLimit+6 {
		t.Errorf("%d checks in 5 s", checks)
	}
	alarm := "report true 1 somebody else changed the address 10 times within 10s: find out who manages the interface"
	if alarms[alarm] != 1 {
		t.Errorf("alarm given %d times: %v", alarms[alarm], alarms)
	}
	w.addrs, w.trace = true, nil
	w.run(w.now + 20*time.Second)
	if last, _ := w.m.talk, 0; last.problem != "" {
		t.Errorf("alarm stands: %q", last.problem)
	}
}

// A drop while the addresses are being added closes the gate at once and removes them as soon as that is done.
func TestMachine_dropDuringPut(t *testing.T) {
	w := newWorld(t, true)
	w.cost[put] = time.Second
	w.hold(1, time.Minute)
	w.run(w.now + 10*ms)
	w.expect("close", "put")
	w.set(supervisor.Hold{Epoch: 2})
	w.run(w.now + 10*ms)
	w.expect()
	w.run(w.now + time.Second)
	w.expect("remove", "report false 2 <nil>")
}

// Rules that somebody removed are made again before the address is added; while it is held, as soon as a refresh or a probe notices.
func TestMachine_gateMissing(t *testing.T) {
	w := newWorld(t, true)
	w.rules = false
	w.hold(1, 150*ms)
	w.run(w.now + ms)
	w.expect("close", "install", "put", "arm 131ms", "announce", "report true 1 <nil>", "probe")
	w.rules = false
	w.hold(1, 150*ms)
	w.run(w.now + ms)
	w.expect("arm 131ms", "install", "arm 131ms")
}

// The gate can't be built: the address isn't put up, and nothing spins.
func TestMachine_gateCannotBeBuilt(t *testing.T) {
	w := newWorld(t, true)
	w.rules = false
	w.fail[install] = errDenied
	w.hold(1, time.Hour)
	w.run(w.now + 10*time.Second)
	if w.addrs {
		t.Error("the address is up without its fence")
	}
	if len(w.trace) > 60 {
		t.Errorf("%d steps in 10 s", len(w.trace))
	}
	w.fail = map[job]error{}
	w.run(w.now + 2*time.Second)
	if !w.served() {
		t.Error("not served although the gate can be built")
	}
}

// On a backup an address that somebody adds is removed; the remains of its own doings are no reason to count.
func TestMachine_foreign(t *testing.T) {
	w := newWorld(t, true)
	w.addrs = true
	w.m.touched(w.now, true, false)
	w.run(w.now + ms)
	w.expect("remove")
	if got := len(w.m.repairs.at); got != 1 {
		t.Errorf("%d repairs, want 1", got)
	}
	w.m.touched(w.now, true, true)
	w.run(w.now + ms)
	w.expect("remove")
	if got := len(w.m.repairs.at); got != 1 {
		t.Errorf("%d repairs, want 1", got)
	}
}

// At the end everything goes down, whatever is set.
func TestMachine_leave(t *testing.T) {
	w := newWorld(t, true)
	w.hold(1, time.Hour)
	w.run(w.now + ms)
	w.trace = nil
	w.m.leave()
	w.hold(2, time.Hour)
	w.run(w.now + ms)
	w.expect("close", "remove", "report false 2 <nil>")
	if !w.m.left() {
		t.Error("not left")
	}
}

// Whatever happens: with a gate nothing is served after the end of the lease, nothing announced or reported as held that isn't served
// (world checks), nothing spins, and when the disturbances end the desired state is reached.
func TestMachine_randomly(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, true)
		epoch := supervisor.Epoch(1)
		for range 200 {
			disturb(w, rng, &epoch)
			end := w.now + time.Duration(rng.Int64N(int64(60*ms)))
			for w.now < end && !t.Failed() {
				w.run(min(w.now+ms, end))
				if w.served() && w.rules && (!w.m.hold.Held || w.now >= w.m.hold.Until) {
					t.Errorf("seed %d at %v: served outside of the lease %+v", seed, w.now, w.m.hold)
				}
			}
			w.trace = w.trace[max(0, len(w.trace)-50):]
		}
		w.cost, w.fail = map[job]time.Duration{}, map[job]error{}
		w.m.touched(w.now, true, true)
		w.hold(epoch, time.Hour)
		w.run(w.now + 5*time.Second)
		if !w.served() {
			t.Errorf("seed %d: not served in the end", seed)
		}
		w.set(supervisor.Hold{Epoch: epoch})
		w.run(w.now + 5*time.Second)
		if w.addrs {
			t.Errorf("seed %d: still up in the end", seed)
		}
		if t.Failed() {
			t.Fatal(w.trace)
		}
	}
}

func disturb(w *world, rng *rand.Rand, epoch *supervisor.Epoch) {
	jobs := []job{put, remove, check, install, probe}
	j := jobs[rng.IntN(len(jobs))]
	switch rng.IntN(12) {
	case 0:
		w.set(supervisor.Hold{Epoch: *epoch})
	case 1:
		*epoch++
	case 2:
		w.cost[j] = time.Duration(rng.Int64N(int64(300 * ms)))
	case 3:
		w.fail[j] = errDenied
	case 4, 5:
		delete(w.fail, j)
	case 6:
		w.addrs = false
		w.m.touched(w.now, false, true)
	case 7:
		w.rules = false
	case 8:
		w.m.relinked(w.now, rng.IntN(2) == 0)
	default:
		w.hold(*epoch, time.Duration(rng.Int64N(int64(200*ms))))
	}
}
