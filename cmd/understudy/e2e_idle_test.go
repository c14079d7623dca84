package main

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// What an idle sidecar costs, told for both presets. Bounded is only what no load of the machine explains away: memory.
func TestIdle(t *testing.T) {
	l, program := sharedLab(t)
	for _, preset := range []string{"default", "fast"} {
		t.Run(preset, func(t *testing.T) {
			s, err := lab.Understudy(program, preset)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Supervise(nil); err != nil {
					t.Error(err)
				}
			})
			if err := l.Supervise(s); err != nil {
				t.Fatal(err)
			}
			if err := l.WaitHealthy(t.Context()); err != nil {
				t.Fatal(err)
			}
			usage, err := l.MeasureIdle(t.Context(), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for host, u := range usage {
				t.Logf("%s: %.1f MiB, %.1f %% of a core", host, u.RSS, u.CPU)
				if u.RSS > 100 {
					t.Errorf("%s: %.1f MiB", host, u.RSS)
				}
			}
		})
	}
}
