package main

import (
	"os"
	"strconv"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	realtime = 10  // of 99: above all ordinary work, below the kernel's own and below keepalived's usual 50
	niceness = -15 // where real time is not allowed
)

// raisePriority lets renewals leave on time on a busy host: real-time scheduling, else as nice as the host allows. It holds for all
// threads, and for those that they will start; hooks are put back to normal. The unit grants both by LimitRTPRIO= and LimitNICE=.
func raisePriority(log *zap.Logger) {
	err := everyThread(func(tid int) error {
		return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realtime}, 0)
	})
	if err == nil {
		return
	}
	log.Info("runs without real-time priority", zap.Error(err))
	if err := everyThread(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) }); err != nil {
		log.Info("runs at normal priority", zap.Error(err))
		return
	}
	// With autogroups, niceness counts only inside a session; the session's own is set apart. It is ours only if we lead it.
	if sid, err := unix.Getsid(0); err == nil && sid == os.Getpid() {
		_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
	}
}

func everyThread(do func(tid int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := do(tid); err != nil {
			return err
		}
	}
	return nil
}
