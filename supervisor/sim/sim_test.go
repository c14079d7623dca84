package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// TestStorms holds random faults to the invariants: never two leases, never two open gates, and somebody serves at peace.
func TestStorms(t *testing.T) {
	var out bytes.Buffer
	opt := options{seeds: 60, from: 1, faults: 4 * time.Second, presets: supervisor.Presets(), workers: 2}
	if !storms(&out, opt, false) {
		t.Error(out.String())
	}
	t.Log("\n" + out.String())
}

// TestScenarios holds single faults from a steady state to what they may cost, at two phases of the renewals' period.
func TestScenarios(t *testing.T) {
	var out bytes.Buffer
	if !runScenarios(&out, []supervisor.Preset{supervisor.PresetDefault}, "", 2, false) {
		t.Error(out.String())
	}
}

// TestStorm_isRepeatable proves that a seed's run can be told again: two runs give the same trace.
func TestStorm_isRepeatable(t *testing.T) {
	a := explain(7, supervisor.PresetDefault, 2*time.Second, 1<<20)
	b := explain(7, supervisor.PresetDefault, 2*time.Second, 1<<20)
	if len(a) != len(b) {
		t.Fatalf("%d lines, then %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("line %d: %q, then %q", i, a[i], b[i])
		}
	}
}
