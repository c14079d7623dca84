package lab

import (
	"strings"
	"testing"
	"time"
)

// run makes a result of a fault that moved the role from a to b.
func run(fault string, outage time.Duration, change ...func(*Result)) Result {
	r := Result{Fault: fault, Primary: "a"}
	r.During = Outage{Longest: outage, Asked: 100, Lost: int(outage / AskInterval), Servers: []string{"a", "b"}}
	r.Healing.Longest = AskInterval
	for _, f := range change {
		f(&r)
	}
	return r
}

func TestCell(t *testing.T) {
	stays := func(r *Result) { r.During.Servers = []string{"a"} }
	back := func(r *Result) { r.During.Servers = []string{"a", "b", "a"} }
	tests := []struct {
		name    string
		results []Result
		want    string
	}{
		{"a fault that moves the role", []Result{run("host-dead", 30*ms), run("host-dead", 10*ms), run("host-dead", 20*ms)},
			"**10.0 / 20 / 30 ms**<br>lost ≤ 15<br>two holders 0 ms"},
		{"seconds", []Result{run("host-dead", 3210*ms)}, "**3.21 s / 3.21 s / 3.21 s**<br>lost ≤ 1605<br>two holders 0 ms"},
		{"two holders, and an outage after healing", []Result{run("sidecar-killed", 4*ms, func(r *Result) {
			r.Both, r.Healing.Longest, r.Healing.Lost = 2500*ms, 36*time.Second, 18000
		})}, "**4.0 / 4.0 / 4.0 ms**<br>lost ≤ 2<br>two holders 2.50 s<br>after healing ≤ 36.00 s"},
		{"no recovery", []Result{run("sip-one-way", 10*time.Second, stays, func(r *Result) { r.During.Open, r.Healing.Longest = true, 11*time.Second })},
			"**10.00 s / 10.00 s / 10.00 s**<br>lost ≤ 5000<br>two holders 0 ms<br>no recovery before healing in 1 of 1"},
		{"moves where it should stay", []Result{run("partition", 4*ms), run("partition", 2*ms, stays), run("partition", 2*ms, back)},
			"**2.0 / 2.0 / 4.0 ms**<br>lost ≤ 2<br>two holders 0 ms<br>role moved in 2 of 3"},
		{"stays where it should move", []Result{run("sidecar-frozen", 2*ms, stays)},
			"**2.0 / 2.0 / 2.0 ms**<br>lost ≤ 1<br>two holders 0 ms<br>role moved in 0 of 1"},
		{"load", []Result{run("switchover-loaded", 6*ms, func(r *Result) { r.Load = &LoadResult{Sent: 900, Retransmitted: 5} })},
			"**6.0 / 6.0 / 6.0 ms**<br>lost ≤ 3<br>two holders 0 ms<br>with retransmission: 5 sent again, 0 lost for good"},
		{"unhealthy afterwards", []Result{run("host-dead", 30*ms, func(r *Result) { r.Unhealthy = "after the fault" })},
			"**30 / 30 / 30 ms**<br>lost ≤ 15<br>two holders 0 ms<br>not healthy in 1 of 1"},
		{"a machine that was taken away", []Result{run("host-dead", 30*ms), run("host-dead", 900*ms, func(r *Result) { r.Stolen = time.Second }), run("host-dead", 32*ms)},
			"**30 / 32 / 900 ms**<br>lost ≤ 450<br>two holders 0 ms<br>calm: 30 / 31 / 32 ms in 2 of 3"},
		{"never there", []Result{run("host-dead", 900*ms, func(r *Result) { r.Stolen = time.Second })},
			"**900 / 900 / 900 ms**<br>lost ≤ 450<br>two holders 0 ms<br>none of 1 was calm"},
		{"unhealthy before", []Result{{Fault: "host-dead", Unhealthy: "before the fault"}}, "not healthy before it, 1 times"},
		{"noticed", []Result{run("options-dead", 4*ms, stays, func(r *Result) { r.Seen, r.SeenAs = 995*ms, "sip-path" }), run("options-dead", 4*ms, stays)},
			"**4.0 / 4.0 / 4.0 ms**<br>lost ≤ 2<br>two holders 0 ms<br>noticed after 995 / 995 / 995 ms (sip-path) in 1 of 2"},
		{"away as long as it lasts", []Result{run("swamped", 8*time.Second, stays, func(r *Result) { r.During.Open = true })},
			"**8.00 s / 8.00 s / 8.00 s**<br>lost ≤ 4000<br>two holders 0 ms"},
		{"weighed", []Result{run("hostile-sender", 4*ms, stays, func(r *Result) { r.RSS = 31.2 }), run("hostile-sender", 4*ms, stays, func(r *Result) { r.RSS = 35.4 })},
			"**4.0 / 4.0 / 4.0 ms**<br>lost ≤ 2<br>two holders 0 ms<br>the primary's sidecar afterwards ≤ 35 MB"},
		{"no such fault for this supervisor", nil, "n/a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := cell(test.results); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestReport_Markdown(t *testing.T) {
	r := Report{
		Runs: 1, Machine: "2 CPUs", Took: time.Minute, Faults: []string{"host-dead", "witness-lost"},
		Columns: []Column{
			{Supervisor: "x", Results: []Result{run("host-dead", 30*ms)}, Idle: map[string]Usage{"a": {CPU: 0.25, RSS: 12.4}, "w": {CPU: 0.1, RSS: 8}}},
			{Supervisor: "y", Results: []Result{run("host-dead", 40*ms)}},
		},
	}
	want := `| fault | x | y |
|---|---|---|
| host-dead | **30 / 30 / 30 ms**<br>lost ≤ 15<br>two holders 0 ms | **40 / 40 / 40 ms**<br>lost ≤ 20<br>two holders 0 ms |
| witness-lost | n/a | n/a |
| idle sidecar: CPU of one core, resident memory | a: 0.2 %, 12 MB<br>w: 0.1 %, 8 MB |  |

`
	if got := r.Markdown(); !strings.HasPrefix(got, want) || !strings.Contains(got, "1 runs each, 2 CPUs, 1m0s in all") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
