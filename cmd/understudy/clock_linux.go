package main

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// rawClock is CLOCK_MONOTONIC_RAW: the crystal's own rate. CLOCK_MONOTONIC may be slewed by up to 8 % by time synchronisation, which
// is more than a lease allows for.
func rawClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts); err != nil {
		panic("CLOCK_MONOTONIC_RAW: " + err.Error()) // there since Linux 2.6.28
	}
	return time.Duration(ts.Nano())
}

func clock() supervisor.Now { return supervisor.Now{Mono: rawClock(), Wall: time.Now()} }
