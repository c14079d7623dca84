package bindings

import (
	"slices"
	"time"
)

// lagMeter holds how long the last changes took until the peer had them.
type lagMeter struct {
	last [512]time.Duration
	n    int
}

func (m *lagMeter) add(d time.Duration) {
	m.last[m.n%len(m.last)] = d
	m.n++
}

// Lag is how long changes took from being made until the peer acknowledged them, of the last 512 batches.
type Lag struct{ Median, P99, Max time.Duration }

func (m *lagMeter) lag() Lag {
	n := min(m.n, len(m.last))
	if n == 0 {
		return Lag{}
	}
	all := slices.Sorted(slices.Values(m.last[:n]))
	return Lag{Median: all[n/2], P99: all[n*99/100], Max: all[n-1]}
}
