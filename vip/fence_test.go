package vip

import (
	"regexp"
	"testing"
	"time"
)

// Every rung ends before the lease that it needs does, even on a kernel clock that is slowed by 8.33 %, and never rounds to an element
// without timeout.
func TestLadder_endsBeforeTheLease(t *testing.T) {
	for lease := minLease; lease <= time.Minute; lease += lease/7 + time.Millisecond {
		rungs := ladder(lease)
		if len(rungs) == 0 {
			t.Fatalf("no rung for a lease of %v", lease)
		}
		for i, r := range rungs {
			if slowest := time.Duration(float64(r.timeout) / (1 - 0.0833)); slowest+gateSlack > r.needs {
				t.Errorf("lease %v: a timeout of %v may last %v, the lease %v", lease, r.timeout, slowest, r.needs)
			}
			if r.timeout < 10*time.Millisecond || r.timeout%time.Millisecond != 0 {
				t.Errorf("lease %v: timeout %v", lease, r.timeout)
			}
			if i > 0 && (r.needs >= rungs[i-1].needs || r.timeout > rungs[i-1].timeout) {
				t.Errorf("lease %v: rung %d is not below the one before", lease, i)
			}
		}
	}
}

// What an operator sees of the presets: the gate closes this long before the lease ends, if a renewal took no time.
func TestLadder_presets(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{
		150 * time.Millisecond:  131 * time.Millisecond,
		32 * time.Millisecond:   26 * time.Millisecond,
		1500 * time.Millisecond: 1331 * time.Millisecond,
	} {
		if got := ladder(lease)[0].timeout; got != want {
			t.Errorf("lease %v: highest timeout %v, want %v", lease, got, want)
		}
	}
}

func TestPick(t *testing.T) {
	rungs := []rung{{needs: 100}, {needs: 50}, {needs: 20}}
	for left, want := range map[time.Duration]int{1000: 0, 100: 0, 99: 1, 50: 1, 20: 2, 19: -1, 0: -1, -5: -1} {
		if got := pick(rungs, left); got != want {
			t.Errorf("%d left: rung %d, want %d", left, got, want)
		}
	}
}

// Names are what nft accepts, and different clusters never share a table.
func TestTableName(t *testing.T) {
	seen := map[string]string{}
	for _, cluster := range []string{"pbx", "PBX", "a-b", "a_b", "a b", "a.b", "ü", "", "x/../y", "pbx1", "längerername-längerername-längerername-längerername-längerername-längerername-längerername"} {
		name := tableName(cluster)
		if !regexp.MustCompile(`^understudy_[A-Za-z0-9_]*$`).MatchString(name) || len(name) > 128 {
			t.Errorf("cluster %q: table %q", cluster, name)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("clusters %q and %q share table %q", cluster, other, name)
		}
		seen[name] = cluster
	}
	if got, want := tableName("pbx"), "understudy_pbx"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
