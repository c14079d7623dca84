package lab

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the moment on CLOCK_MONOTONIC by which everything in a lab is measured. All hosts share it.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("CLOCK_MONOTONIC: " + err.Error()) // there is no Linux without it
	}
	return time.Duration(ts.Nano())
}

// sleepUntil blocks the thread until a moment of Now. A timer of the Go runtime may be late by more than the 1 ms that is measured here.
func sleepUntil(at time.Duration) {
	ts := unix.NsecToTimespec(int64(at))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR { // signals of the Go scheduler
	}
}
