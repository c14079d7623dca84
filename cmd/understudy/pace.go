package main

import (
	"sync"
	"time"
)

// pace tells how many messages a second there were lately, from counters that are read once in a while.
type pace struct {
	mu      sync.Mutex
	samples []sample
}

type sample struct {
	at      time.Time
	in, out uint64
}

const paceSpan = 10 * time.Second

func (p *pace) add(at time.Time, in, out uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.samples) > 1 && at.Sub(p.samples[1].at) >= paceSpan {
		p.samples = p.samples[1:]
	}
	if n := len(p.samples); n > 0 && at.Sub(p.samples[n-1].at) < time.Second/2 {
		return
	}
	p.samples = append(p.samples, sample{at, in, out})
}

func (p *pace) rates() (in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.samples) < 2 {
		return 0, 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	span := last.at.Sub(first.at).Seconds()
	return int(float64(last.in-first.in)/span + 0.5), int(float64(last.out-first.out)/span + 0.5)
}
