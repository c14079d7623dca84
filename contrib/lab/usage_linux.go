package lab

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a host's sidecar costs while nothing happens.
type Usage struct {
	CPU float64 `json:"cpu_percent"` // of one core, children included; steps of the kernel's accounting are 0.1 over 10 s
	RSS float64 `json:"rss_mb"`      // resident memory of all its processes, in MiB, shared pages counted in each
}

// userHz is the unit of times in /proc/PID/stat; fixed for user space on every architecture that Go supports.
const userHz = 100

// MeasureIdle measures the sidecars of a, b and w over a span in which neither the client nor the observer does anything.
func (l *Lab) MeasureIdle(ctx context.Context, span time.Duration) (map[string]Usage, error) {
	if l.sup == nil {
		return nil, ErrNoSupervisor
	}
	l.Client.Pause(true)
	l.Observer.Pause(true)
	defer l.Client.Pause(false)
	defer l.Observer.Pause(false)
	hosts := append(Members(), Witness)
	before := map[string]int{}
	if err := rest(ctx, 2*time.Second); err != nil { // what has just happened is over
		return nil, err
	}
	start := Now()
	for _, h := range hosts {
		before[h] = ticksOf(SidecarPIDs(l.sup, h))
	}
	if err := rest(ctx, span); err != nil {
		return nil, err
	}
	took := Now() - start
	usage := map[string]Usage{}
	for _, h := range hosts {
		pids := SidecarPIDs(l.sup, h)
		if len(pids) == 0 {
			continue
		}
		rss, err := rssOf(pids)
		if err != nil {
			return nil, err
		}
		usage[h] = Usage{CPU: 100 * float64(ticksOf(pids)-before[h]) / userHz / took.Seconds(), RSS: rss}
	}
	return usage, nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func ticksOf(pids []int) int {
	all := readProcesses()
	sum := 0
	for _, pid := range pids {
		sum += all[pid].ticks
	}
	return sum
}

// rssOf sums VmRSS of /proc/PID/status, in MiB. A process that has ended meanwhile, such as a check of keepalived's, counts as nothing.
func rssOf(pids []int) (float64, error) {
	sum := 0
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, rest, found := strings.Cut(string(raw), "VmRSS:")
		if !found {
			continue
		}
		kib, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		sum += kib
	}
	return float64(sum) / 1024, nil
}

// stolen is the processor time that the hypervisor has given to others since the machine started, over all processors; 0 where the
// kernel does not tell. A lab on a machine that is taken away now and then measures that too.
func stolen() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	const steal = 8 // proc(5): cpu user nice system idle iowait irq softirq steal
	fields := strings.Fields(line)
	if len(fields) <= steal {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[steal], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * time.Second / userHz
}
