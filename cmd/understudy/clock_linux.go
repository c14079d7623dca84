package main

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// rawClock is CLOCK_MONOTONIC_RAW: the crystal's own rate. CLOCK_MONOTONIC may be slewed by up to 8 % by time synchronisation, which
// is more than a lease allows for.
func rawClock() time.Duration {
	var ts unix.Timespec
	// A raw system call: one that Go's scheduler knows of wakes its monitor thread, which costs more than the call, hundreds of times
	// a second.
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC_RAW, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic("CLOCK_MONOTONIC_RAW: " + e.Error()) // there since Linux 2.6.28
	}
	return time.Duration(ts.Nano())
}

func clock() supervisor.Now { return supervisor.Now{Mono: rawClock(), Wall: time.Now()} }
