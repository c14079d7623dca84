package main

import (
	"os"
	"strconv"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// niceness of the daemon: renewals must leave on time on a busy host.
const niceness = -15

// raisePriority gives all threads, and those that they will start, more of a busy processor. Without the right to do so the daemon runs
// as well as the host lets it; the unit gives it by Nice=.
func raisePriority(log *zap.Logger) {
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		if e := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); e != nil {
			err = e
		}
	}
	if err != nil {
		log.Info("runs at normal priority", zap.Error(err))
	}
}
