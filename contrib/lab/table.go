package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hiccup is how long a gap may be to be nobody's fault: the client itself stumbles now and then on a busy machine.
const hiccup = 25 * time.Millisecond

// undisturbedBy is how much processor time the hypervisor may take away in a run that counts as undisturbed.
const undisturbedBy = 100 * time.Millisecond

// Markdown renders the report as one table: a row for each fault, a column for each supervisor. A cell says, over all runs: outage min / median
// / max as the client saw it, then what else there is to say.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, c := range r.Columns {
		fmt.Fprintf(&b, " %s |", c.Supervisor)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Columns)) + "\n")
	for _, name := range r.Faults {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range r.Columns {
			fmt.Fprintf(&b, " %s |", cell(c.of(name)))
		}
		b.WriteString("\n")
	}
	b.WriteString(r.idleRow())
	fmt.Fprintf(&b, "\nOutage min / median / max: the longest time between two requests that the service address answered within %v, asked every %v "+
		"without retransmission. %d runs each, %s, %v in all.%s\n",
		AnswerLimit, AskInterval, r.Runs, r.Machine, r.Took.Round(time.Second), r.disturbed())
	return b.String()
}

// disturbed tells how much of what was measured may be the machine's.
func (r Report) disturbed() string {
	var stall, worst time.Duration
	var runs, robbed int
	for _, c := range r.Columns {
		for _, result := range c.Results {
			stall = max(stall, result.During.Stall, result.Healing.Stall)
			worst = max(worst, result.Stolen)
			runs++
			if result.Stolen > 0 {
				robbed++
			}
		}
	}
	s := fmt.Sprintf(" The client itself stumbled for at most %s.", brief(stall))
	if robbed > 0 {
		s += fmt.Sprintf(" The hypervisor took processor time away in %d of %d runs, at most %s; calm are those in which it took no more than %s.",
			robbed, runs, brief(worst), brief(undisturbedBy))
	}
	return s
}

// of picks the results of one fault.
func (c Column) of(fault string) []Result {
	var found []Result
	for _, r := range c.Results {
		if r.Fault == fault {
			found = append(found, r)
		}
	}
	return found
}

// cell is what a fault cost, over all runs.
func cell(results []Result) string {
	var outages, undisturbed, healing, both, seen []time.Duration
	var seenAs []string
	var lost, open, moved, strayed, unhealthy, lostForGood, unanswered int
	var heaviest float64
	var f Fault
	for _, r := range results {
		if r.Unhealthy != "" {
			unhealthy++
		}
		if r.Primary == "" { // there was no fault to begin with
			continue
		}
		outages, both = append(outages, r.During.Longest), append(both, r.Both)
		if r.Seen > 0 {
			seen, seenAs = append(seen, r.Seen), append(seenAs, r.SeenAs)
		}
		if r.Stolen <= undisturbedBy {
			undisturbed = append(undisturbed, r.During.Longest)
		}
		lost, heaviest = max(lost, r.During.Lost), max(heaviest, r.RSS)
		f, _ = FaultByName(r.Fault) // one of an older report expects nothing
		switch {
		case r.During.Open:
			open++ // and the gap that began in the fault ends in the healing
		case r.Healing.Lost > 0: // else the client itself stumbled
			healing = append(healing, r.Healing.Longest)
		}
		if r.Moved() {
			moved++
		}
		if r.strayed() {
			strayed++
		}
		if r.Load != nil {
			lostForGood += r.Load.Lost
			unanswered += r.Load.Retransmitted
		}
	}
	n := len(outages)
	if n == 0 {
		return fallback(unhealthy)
	}
	parts := []string{"**" + spread(outages) + "**", fmt.Sprintf("lost ≤ %d", lost), "two holders " + brief(slices.Max(both))}
	note := func(show bool, format string, args ...any) {
		if show {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	if c := len(undisturbed); c > 0 && c < n {
		note(true, "calm: %s in %d of %d", spread(undisturbed), c, n)
	}
	note(len(undisturbed) == 0, "none of %d was calm", n)
	worst := slices.Max(append(healing, 0))
	if len(seen) > 0 {
		slices.Sort(seenAs)
		note(true, "noticed after %s (%s) in %d of %d", spread(seen), strings.Join(slices.Compact(seenAs), ", "), len(seen), n)
	}
	note(worst > hiccup, "after healing ≤ %s", brief(worst))
	note(open > 0 && !f.Down, "no recovery before healing in %d of %d", open, n)
	note(f.Expect == Moves && moved < n && open < n, "role moved in %d of %d", moved, n)
	note(f.Expect == Stays && strayed > 0, "role moved in %d of %d", strayed, n)
	note(results[0].Load != nil, "with retransmission: %d sent again, %d lost for good", unanswered, lostForGood)
	note(heaviest > 0, "the primary's sidecar afterwards ≤ %.0f MB", heaviest)
	note(unhealthy > 0, "not healthy in %d of %d", unhealthy, len(results))
	return strings.Join(parts, "<br>")
}

// fallback is the cell of a fault that could not be measured.
func fallback(unhealthy int) string {
	if unhealthy > 0 {
		return fmt.Sprintf("not healthy before it, %d times", unhealthy)
	}
	return "n/a"
}

// idleRow is the last row: what idle sidecars cost.
func (r Report) idleRow() string {
	var b strings.Builder
	b.WriteString("| idle sidecar: CPU of one core, resident memory |")
	measured := false
	for _, c := range r.Columns {
		var lines []string
		for _, host := range append(Members(), Witness) {
			if u, ok := c.Idle[host]; ok {
				lines = append(lines, fmt.Sprintf("%s: %.1f %%, %.0f MB", host, u.CPU, u.RSS))
			}
		}
		measured = measured || lines != nil
		fmt.Fprintf(&b, " %s |", strings.Join(lines, "<br>"))
	}
	if !measured {
		return ""
	}
	return b.String() + "\n"
}

// spread is min / median / max in one unit.
func spread(all []time.Duration) string {
	s := slices.Sorted(slices.Values(all))
	low, mid, high := s[0], (s[(len(s)-1)/2]+s[len(s)/2])/2, s[len(s)-1]
	if high < time.Second {
		return fmt.Sprintf("%s / %s / %s ms", millis(low), millis(mid), millis(high))
	}
	return fmt.Sprintf("%s / %s / %s", brief(low), brief(mid), brief(high))
}

// brief is a duration in the unit that suits it.
func brief(d time.Duration) string {
	if d < time.Second {
		return millis(d) + " ms"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// millis is a number of milliseconds, with a decimal where it says something.
func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms > 0 && ms < 20 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
