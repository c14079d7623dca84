package bindings

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// A million registrations: what they take in memory and on disk, how long a snapshot and reading it take, and how long a member needs to become
// primary with them. One round is enough: -benchtime 1x.
func BenchmarkStore_million(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		dir, m := b.TempDir(), newMachine()
		s, err := Open(Options{Dir: dir, Logger: zap.NewNop(), Clock: m.clock()})
		if err != nil {
			b.Fatal(err)
		}
		s.SetRole(1, true)
		rng := rand.New(rand.NewPCG(1, 2))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		for i := range n {
			aor, x := realBinding(rng, i)
			x.Expires = m.now + time.Hour
			if err := s.Set(aor, []location.Binding{x}, Cause{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/n, "µs/set")
		s.t.saving.take(n) // else the wait for the disk is part of what is measured
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/record")

		began = time.Now()
		if err := s.compact(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/snapshot")
		b.ReportMetric(float64(s.files.snapshot)/n, "B/record-on-disk")
		began = time.Now()
		again, err := Open(Options{Dir: dir, Logger: zap.NewNop(), Clock: m.clock()})
		if err != nil || again.Status().Records != n {
			b.Fatal(again.Status(), err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/load")
		began = time.Now()
		again.SetRole(2, true)
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/takeover")
	}
}
