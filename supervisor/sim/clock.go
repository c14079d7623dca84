package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// clock is a node's raw monotonic clock: it started at another moment than everybody's and runs fast or slow.
type clock struct {
	offset time.Duration
	ppm    int64         // rate error in millionths
	wall   time.Duration // error of the wall clock, which jumps
}

// epochWall is the wall clock's true time at global time zero.
var epochWall = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// local is the node's reading at global time g.
func (c *clock) local(g time.Duration) time.Duration {
	return c.offset + g + time.Duration(int64(g)/1000*c.ppm/1000)
}

// global is the first global moment at which the node's clock reads at least l.
func (c *clock) global(l time.Duration) time.Duration {
	d := l - c.offset
	if d <= 0 {
		return 0
	}
	g := time.Duration(float64(d) / (1 + float64(c.ppm)/1e6))
	for c.local(g) < l {
		g += 500
	}
	return g
}

func (c *clock) now(g time.Duration) supervisor.Now {
	return supervisor.Now{Mono: c.local(g), Wall: epochWall.Add(g + c.wall)}
}
