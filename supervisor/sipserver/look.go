package sipserver

import (
	"fmt"
	"strings"
	"time"
)

// looks is one look at the states of the server's processes.
type looks struct {
	all, waiting int  // processes; waiting are runnable
	stopped      int  // cannot run: stopped by a signal or a debugger with all their threads, or in a frozen cgroup
	starved      bool // those that are runnable mostly wait for the processor
}

// text is what the look adds to a sentence.
func (l looks) text() string {
	switch {
	case l.stopped > 0:
		return fmt.Sprintf("; %d of %d processes are stopped", l.stopped, l.all)
	case l.waiting > 0:
		return fmt.Sprintf("; %d of %d processes are runnable", l.waiting, l.all)
	}
	return ""
}

// thread is how a thread is right now.
type thread struct {
	state  byte          // as in /proc/PID/stat
	waited time.Duration // for the processor, since it began
}

func has(threads map[int]thread, states string) bool {
	for _, t := range threads {
		if strings.IndexByte(states, t.state) >= 0 {
			return true
		}
	}
	return false
}

// halted tells whether no thread can run: each is stopped by a signal (T) or a debugger (t). Those that ended (Z, X) don't count.
func halted(threads map[int]thread) bool {
	stopped := false
	for _, t := range threads {
		switch t.state {
		case 'T', 't':
			stopped = true
		case 'Z', 'X':
		default:
			return false
		}
	}
	return stopped
}

// starving is how much of the time between two looks a runnable thread has to wait for the processor to count as starved. One that
// spins without answering runs instead.
const starving = 0.25

// starved tells whether a runnable thread waits for the processor. Without a look before, every runnable one may.
func starved(before, now map[int]thread, elapsed time.Duration) bool {
	if before == nil {
		return has(now, "R")
	}
	for tid, t := range now {
		old, ok := before[tid]
		if ok && t.state == 'R' && float64(t.waited-old.waited) >= starving*float64(elapsed) {
			return true
		}
	}
	return false
}
