package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Bench compares supervisors: each gets every fault Runs times, on the same lab, one after the other.
type Bench struct {
	Supervisors []Supervisor
	Faults      []Fault
	Runs        int
	Idle        time.Duration // how long to measure what an idle sidecar costs; 0: not at all
	Progress    func(Result)  // called after each run
}

// Report is what a Bench found. Durations in its JSON form are nanoseconds.
type Report struct {
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Machine string        `json:"machine"`
	Runs    int           `json:"runs"`
	Faults  []string      `json:"faults"`
	Columns []Column      `json:"columns"`
}

// Column is one supervisor's part of a report.
type Column struct {
	Supervisor string           `json:"supervisor"`
	Idle       map[string]Usage `json:"idle,omitempty"` // by host
	Results    []Result         `json:"results"`
}

// Run runs the bench. After an error the report holds what was found until then. Afterwards no sidecars run.
func (b Bench) Run(ctx context.Context, l *Lab) (Report, error) {
	report := Report{Started: time.Now(), Machine: machine(), Runs: b.Runs}
	for _, f := range b.Faults {
		report.Faults = append(report.Faults, f.Name)
	}
	var err error
	for _, s := range b.Supervisors {
		var c Column
		if c, err = b.column(ctx, l, s); err != nil {
			err = fmt.Errorf("%s: %w", s.Name(), err)
		}
		report.Columns = append(report.Columns, c)
		if err != nil {
			break
		}
	}
	report.Took = time.Since(report.Started)
	return report, errors.Join(err, l.Supervise(nil))
}

func (b Bench) column(ctx context.Context, l *Lab, s Supervisor) (Column, error) {
	c := Column{Supervisor: s.Name()}
	if err := l.Supervise(s); err != nil {
		return c, err
	}
	if err := l.waitHealthy(ctx); err != nil {
		return c, err
	}
	if b.Idle > 0 {
		var err error
		if c.Idle, err = l.MeasureIdle(ctx, b.Idle); err != nil {
			return c, err
		}
	}
	for _, f := range b.Faults {
		if f.witness && len(s.Sidecar(Witness)) == 0 {
			continue
		}
		for range b.Runs {
			r, err := l.Measure(ctx, f)
			if err != nil {
				return c, err
			}
			c.Results = append(c.Results, r)
			if b.Progress != nil {
				b.Progress(r)
			}
			if r.Unhealthy == "" {
				continue
			}
			// The next run begins with fresh sidecars, lest one failure shows up as many.
			if err := l.Supervise(s); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// machine says on what was measured.
func machine() string {
	var u unix.Utsname
	release := "?"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d CPUs, Linux %s, %s", runtime.NumCPU(), release, runtime.GOARCH)
}
