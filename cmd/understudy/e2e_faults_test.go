package main

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// generous is a bound that only a broken pair misses; how fast it is, the bench tells.
const generous = 5 * time.Second

// Every fault of the lab once, on one pair: never two holders, the role moves or stays as it should, the service is back before anybody heals
// anything, the pair is whole again afterwards, and epochs only grow.
func TestFaults(t *testing.T) {
	p := newRig(t, func(p *rig) {
		p.extra = silenceRule
		p.twice = true // each fault is checked for two holders; one makes them
	})
	epoch := p.epoch("a")
	for _, f := range lab.Faults() {
		ok := t.Run(f.Name, func(t *testing.T) {
			r, err := p.lab.Measure(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("outage %v, lost %d of %d, served by %v; healing: %v; healthy again after %v", r.During.Longest, r.During.Lost, r.During.Asked,
				r.During.Servers, r.Healing.Longest, r.Recovery)
			checkFault(t, f, r)
			for _, n := range allNodes() {
				h := p.history(n)
				for i := 1; i < len(h); i++ {
					if h[i-1].Epoch != h[i].Epoch+1 { // the newest first
						t.Errorf("history of %s: epoch %d after %d", n, h[i-1].Epoch, h[i].Epoch)
					}
				}
			}
			now := p.epoch("a")
			if now < epoch || f.Expect == lab.Moves && now == epoch {
				t.Errorf("epoch %d after %d", now, epoch)
			}
			epoch = now
		})
		if !ok {
			t.Fatalf("%s failed: what follows would say nothing", f.Name)
		}
	}
}

func checkFault(t *testing.T, f lab.Fault, r lab.Result) {
	t.Helper()
	if r.Unhealthy != "" {
		t.Error(r.Unhealthy)
	}
	if r.Both > 0 && !f.Twice {
		t.Errorf("two holders for %v", r.Both)
	}
	if !f.Down && (r.During.Open || r.During.Longest > f.Hold+generous) {
		t.Errorf("the service was away for %v (still: %t)", r.During.Longest, r.During.Open)
	}
	switch {
	case f.Expect == lab.Moves && !r.Moved():
		t.Errorf("the role stayed with %s", r.Primary)
	case f.Expect == lab.Stays && len(r.During.Servers) > 1:
		t.Errorf("the role moved: %v", r.During.Servers)
	}
	if r.Load != nil && r.Load.Lost > 0 {
		t.Errorf("%d of %d requests lost for good", r.Load.Lost, r.Load.Sent)
	}
}
