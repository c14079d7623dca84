package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// benchOptions are the flags of `lab bench`.
type benchOptions struct {
	choice

	runs   int
	faults string
	report string
	idle   time.Duration
}

func benchCmd() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Run every fault several times for each supervisor and print one table",
		Long: "Run every fault several times for each supervisor, on the same lab in one run, and print one table (Markdown).\n" +
			"Leave the machine alone meanwhile: what else runs is measured too.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := isolate(); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.ha, "ha", "all", "what to compare, comma-separated: "+strings.Join(contenders, ", "))
	cmd.Flags().IntVar(&o.runs, "runs", 10, "how often each fault happens")
	cmd.Flags().StringVar(&o.faults, "faults", "", "faults, comma-separated (default: all; see lab faults)")
	cmd.Flags().StringVar(&o.report, "report", "", "write all results to this file too, as JSON")
	cmd.Flags().DurationVar(&o.idle, "idle", 10*time.Second, "how long to measure idle sidecars, 0 for not at all")
	return cmd
}

func (o *benchOptions) run(ctx context.Context, out, progress io.Writer) error {
	supervisors, err := o.supervisors()
	if err != nil {
		return err
	}
	faults, err := chosenFaults(o.faults)
	if err != nil {
		return err
	}
	l, err := lab.New(o.options())
	if err != nil {
		return err
	}
	b := lab.Bench{Supervisors: supervisors, Faults: faults, Runs: o.runs, Idle: o.idle, Progress: func(r lab.Result) {
		fmt.Fprintln(progress, line(r))
	}}
	report, err := b.Run(ctx, l)
	fmt.Fprint(out, "\n"+report.Markdown())
	if o.report != "" {
		err = errors.Join(err, writeJSON(o.report, report))
	}
	return errors.Join(err, l.Close())
}

// stumble is how long the client or the observer may be held up without a word.
const stumble = 10 * time.Millisecond

// line is one run for people who wait.
func line(r lab.Result) string {
	s := fmt.Sprintf("%-20s %-18s", r.Supervisor, r.Fault)
	if r.Primary == "" {
		return s + " " + r.Unhealthy
	}
	s += fmt.Sprintf(" %s->%-6s outage %8.1f ms, after healing %8.1f ms, lost %4d, two holders %7.0f ms",
		r.Primary, strings.Join(r.During.Servers, ""), millis(r.During.Longest), millis(r.Healing.Longest), r.During.Lost, millis(r.Both))
	if stall := max(r.During.Stall, r.Healing.Stall, r.Stall); stall > stumble {
		s += fmt.Sprintf(", the lab itself stumbled for %.0f ms", millis(stall))
	}
	if r.Stolen > stumble {
		s += fmt.Sprintf(", %.0f ms of processor time were stolen", millis(r.Stolen))
	}
	if r.Load != nil {
		s += fmt.Sprintf(", with retransmission %d of %d lost", r.Load.Lost, r.Load.Sent)
	}
	if r.Unhealthy != "" {
		s += ", " + r.Unhealthy
	}
	return s
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}
