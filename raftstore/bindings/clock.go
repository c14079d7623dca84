package bindings

import "time"

// Clock is what a store knows of time.
type Clock struct {
	Now  func() time.Duration // since the machine started, asleep or not; nobody sets it
	Wall func() time.Time     // what the machine takes for the time of day
	Boot string               // tells one start of the machine from another
}

// mark tells the time in a file, so that moments in it have a meaning later.
type timeMark struct {
	Boot string
	Now  time.Duration
	Wall time.Time
}

func (c Clock) mark() timeMark { return timeMark{Boot: c.Boot, Now: c.Now(), Wall: c.Wall()} }

// since is how much later than the clock of a mark's file the clock runs now: what has to be added to its moments. The clock of one start
// of the machine goes on; else the time of day has to do.
func (c Clock) since(m timeMark) time.Duration {
	if m.Boot == c.Boot && m.Boot != "" {
		return 0
	}
	return c.Now() - (m.Now + max(0, c.Wall().Sub(m.Wall)))
}
