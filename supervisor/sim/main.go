package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// options are what the command line asks for.
type options struct {
	seeds, from uint64
	steps       int
	faults      time.Duration
	presets     []supervisor.Preset
	workers     int
	limit       time.Duration
}

func main() {
	opt := options{presets: supervisor.Presets()}
	flag.Uint64Var(&opt.seeds, "seeds", 1000, "how many `seeds` to run of each preset")
	flag.Uint64Var(&opt.from, "from", 1, "first seed")
	flag.IntVar(&opt.steps, "steps", 0, "stop after that many steps of a core; 0: run all seeds")
	flag.DurationVar(&opt.faults, "duration", 8*time.Second, "how long faults last, in virtual time of the default preset")
	flag.DurationVar(&opt.limit, "limit", 0, "begin no seed after that long in real time; 0: no limit")
	flag.IntVar(&opt.workers, "workers", 2, "seeds run at the same time")
	preset := flag.String("preset", "", "only this `preset`")
	replay := flag.Uint64("replay", 0, "print the whole trace of this `seed`")
	verbose := flag.Bool("v", false, "print the faults by kind and the scenarios")
	phases := flag.Int("phases", 3, "moments of a renewal's period at which each scenario begins")
	only := flag.String("scenario", "", "play only the scenarios whose name contains this `text`")
	skip := flag.Bool("storms-only", false, "leave the scenarios out")
	flag.Parse()
	if *preset != "" {
		opt.presets = []supervisor.Preset{supervisor.Preset(*preset)}
	}
	if *replay != 0 {
		for _, l := range explain(*replay, opt.presets[0], opt.faults, 1<<30) {
			fmt.Println(l)
		}
		return
	}
	ok := *skip || runScenarios(os.Stdout, opt.presets, *only, *phases, *verbose)
	if !ok || !storms(os.Stdout, opt, *verbose) {
		os.Exit(1)
	}
}

// storms runs the seeds of each preset in parallel and reports. False means that an invariant was broken.
func storms(out io.Writer, opt options, verbose bool) bool {
	ok := true
	for _, p := range opt.presets {
		began := time.Now()
		total, bad := runSeeds(opt, p)
		fmt.Fprintf(out, "%-8s %d seeds, %d steps, %d switchovers, %d faults, worst recovery %v, %v\n", p, total.seeds, total.steps,
			sum(total.switchovers), sum(total.faults), total.recovery.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		if verbose {
			printCounts(out, total.switchovers)
			printCounts(out, total.faults)
		}
		if bad != nil {
			ok = false
			fmt.Fprintf(out, "VIOLATION: %s\nreplay with: -preset %s -duration %v -replay %d\n", bad.broken, p, opt.faults, bad.seed)
			for _, l := range explain(bad.seed, p, opt.faults, 300) {
				fmt.Fprintln(out, l)
			}
		}
	}
	return ok
}

func runSeeds(opt options, p supervisor.Preset) (stats, *world) {
	var (
		next  atomic.Uint64
		stop  atomic.Bool
		mu    sync.Mutex
		wg    sync.WaitGroup
		total = newStats()
		bad   *world
		began = time.Now()
	)
	for range opt.workers {
		wg.Go(func() {
			for !stop.Load() && (opt.limit == 0 || time.Since(began) < opt.limit) {
				i := next.Add(1) - 1
				if i >= opt.seeds {
					return
				}
				w := storm(opt.from+i, p, opt.faults, nil)
				mu.Lock()
				total.add(w.stats)
				if w.broken != "" {
					stop.Store(true)
					if bad == nil || w.seed < bad.seed {
						bad = w
					}
				}
				if opt.steps > 0 && total.steps >= opt.steps {
					stop.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, bad
}

func sum[K comparable](m map[K]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

func printCounts[K ~string](out io.Writer, m map[K]int) {
	var keys []K
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(out, "  %6d %s\n", m[k], k)
	}
}
