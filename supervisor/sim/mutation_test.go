package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mutant is a mistake in the core that the simulation must notice.
type mutant struct {
	name, file, old, new string
	also                 []mutant // second lines of defence that would hide the mistake
	args                 string   // what to run; empty: seeds of the default preset, then the scenarios
}

const (
	onlyScenarios = "-seeds 0 -preset default -phases 3 -scenario="
	defaultMutant = "-seeds 400 -preset default -storms-only"
)

// pushy is no mistake: the claimant's own waiting spares messages, safety rests on the voters.
var pushy = mutant{name: "pushy", file: "duties.go", old: "return max(own, first)", new: "return min(0, own, first)"}

var mutants = []mutant{
	{name: "lease counted from the answer", file: "lease.go", old: "l.until = max(l.until, at+length)", new: "l.until = max(l.until, now+length+at-at)"},
	{name: "promise forgotten at restart", also: []mutant{pushy}, file: "core.go", old: "c.vote.free = now.Mono + opt.Timing.Promise(MaxGuard)", new: "c.vote.free = now.Mono"},
	{name: "restarted voter waits for the lease only, not for the fence", file: "core.go",
		old: "c.vote.free = now.Mono + opt.Timing.Promise(MaxGuard)", new: "c.vote.free = now.Mono + opt.Timing.Lease/4"},
	{name: "a standing promise is ignored", also: []mutant{pushy}, file: "voter.go", old: "v.rest(now, holder) > 0 ||", new: "false ||"},
	{name: "own promise is ignored", also: []mutant{pushy}, file: "duties.go",
		old: "c.vote.promise(now, c.opt.Self, l.epoch, c.record.Epoch, length)", new: "(c.vote.promise(now, c.opt.Self, l.epoch, c.record.Epoch, length) || true)"},
	{name: "an older epoch is promised after a newer", file: "voter.go", old: "return max(recorded, v.epoch, v.closed+1)", new: "return 0"},
	{name: "the record's epoch does not bind a voter", file: "voter.go", old: "return max(recorded, v.epoch, v.closed+1)", new: "return max(v.epoch, v.closed+1)", args: onlyScenarios + "knows the record"},
	{name: "its own promise does not bind a voter", file: "voter.go", old: "return max(recorded, v.epoch, v.closed+1)", new: "return max(recorded, v.closed+1)", args: onlyScenarios + "promised more"},
	{name: "a node that is not synced votes", file: "receive.go", old: "now, v := c.now.Mono, &c.vote\n\tif !c.synced || ", new: "now, v := c.now.Mono, &c.vote\n\tif ",
		args: onlyScenarios + "not synced", also: []mutant{{file: "receive.go", old: "\tv := &c.vote\n\tif !c.synced || ", new: "\tv := &c.vote\n\tif "}}},
	{name: "a node leaves Starting before it is synced", file: "guards.go", old: "return c.synced && c.now.Mono >= c.vote.free", new: "return c.now.Mono >= c.vote.free"},
	{name: "released before the address is down", file: "duties.go", old: "|| !c.down() {", new: "{"},
	{name: "an old confirmation counts as the newest", file: "core.go", old: "c.downAt >= c.hold.Serial", new: "c.downAt > 0"},
	{name: "hold not dropped at the lease's end", file: "table.go",
		old: "all(currentMine, not(mustYield), not(leaseRuns), demotes), to: Standing", new: "all(currentMine, not(mustYield), not(leaseRuns), demotes, barred, vacant), to: Standing", args: onlyScenarios + "isolated"},
	{name: "hold asked for longer than the lease", file: "core.go", old: "want.Held, want.Until = true, c.lease.until", new: "want.Held, want.Until = true, c.lease.until+c.opt.Timing.Renew"},
	{name: "promise without the drift term", file: "timing.go", old: "float64(t.Lease)*(1+t.Drift)/(1-t.Drift)", new: "float64(t.Lease)"},
	{name: "promise for half the lease", file: "voter.go", old: "v.until = max(v.until, now+length)", new: "v.until = max(v.until, now+length/2)"},
	{name: "an older renewal shortens the promise's holder", file: "voter.go", old: "if v.holder == holder {", new: "if v.holder != \"\" {"},
	{name: "epoch reused", file: "record.go", old: "if e.Epoch != r.Epoch+1 {", new: "if e.Epoch < r.Epoch {"},
	{name: "budget ignored", file: "record.go", old: "\t\t\tleft--", new: "\t\t\tleft -= 0"},
	{name: "pause ignored", file: "record.go", old: "return at.Before(r.Paused.Until)", new: "return false"},
	{name: "renewals although deaf", file: "lease.go", old: "return now-l.answered <= 3*t.Renew", new: "return true", args: onlyScenarios + "deaf"},
	{name: "closes although it hears the primary", file: "receive.go", old: "m.Epoch != v.closed && !v.silent(now, t.Suspect)", new: "t.Suspect < 0", args: onlyScenarios + "unheard"},
	{name: "late loop not voided", file: "core.go", old: "c.vote.heard = max(c.vote.heard, now.Mono)", new: "_ = late", args: onlyScenarios + "paused for longer"},
	{name: "probe storm", file: "receive.go", old: " && m.Seq == l.seq && fit(c) && !closedHere(c) {", new: " {"},
	{name: "gives the role up in a pause", file: "table.go", old: "all(namesMe, not(fit), canPassOn, not(paused)), to: Yielding", new: "all(namesMe, not(fit), canPassOn), to: Yielding", args: onlyScenarios + "paused, host"},
	{name: "a probe counts as a renewal", file: "receive.go", old: "c.newest = max(c.newest, m.Epoch) // committed", new: "v.listen(c.now.Mono, c.opt.Timing.Suspect) // committed", args: onlyScenarios + "deaf"},
	{name: "a spent budget keeps the role with nobody", file: "duties.go", old: "c.unjudged(c.freedFor)", new: "c.freedFor", args: onlyScenarios + "budget spent",
		also: []mutant{{file: "duties.go", old: "c.unjudged(c.givenFor)", new: "c.givenFor"}}},
	{name: "a granted promise longer than a restart remembers", file: "core.go", old: "opt.Timing.Promise(MaxGuard)", new: "opt.Timing.Promise(0)", args: onlyScenarios + "both voters restarted"},
	{name: "no election by the challenger", file: "duties.go", old: "c.do(Campaign{})", new: "", args: onlyScenarios + "led raft"},
	{name: "a lost renewal is not repeated", file: "duties.go", old: "l.repeat = now + t.Renew/2", new: "l.repeat = never", args: onlyScenarios + "a fifth"},
	{name: "a busy server counts as a broken path", file: "path.go", old: "isDead(server) || server.Busy {", new: "isDead(server) {", args: onlyScenarios + "busy"},
	{name: "a server that has just come back counts as a broken path", file: "path.go", old: "now-c.serverAt < t.VantageSilence {", new: "now == c.serverAt {",
		args: onlyScenarios + "just come back"},
	{name: "release ignored", file: "voter.go", old: "v.until = min(v.until, now)", new: "v.until += 0", args: onlyScenarios + "SIP server"},
}

// TestMutants proves that the simulation would have noticed each of these mistakes: a check that nothing can fail checks nothing.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulation once for every mutant")
	}
	dir := t.TempDir()
	slots := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for i, m := range mutants {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			killer, err := hunt(filepath.Join(dir, fmt.Sprint(i)), m)
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				return
			}
			t.Logf("%-55s %s", m.name, killer)
		})
	}
	wg.Wait()
}

var violation = regexp.MustCompile(`(?m)^VIOLATION: .*(\nreplay with: .*)?`)

// hunt builds the simulation with the mutant and runs it until it reports a violation.
func hunt(dir string, m mutant) (killer string, err error) {
	bin, err := build(dir, m)
	if err != nil {
		return "", err
	}
	args := m.args
	if args == "" {
		args = defaultMutant
	}
	out, err := exec.Command(bin, append(arguments(args), "-limit", "20s", "-workers", "1")...).CombinedOutput()
	if v := violation.Find(out); v != nil {
		return strings.ReplaceAll(string(v), "\n", "; "), nil
	}
	if err != nil {
		return "", fmt.Errorf("run: %w: %s", err, out)
	}
	return "", fmt.Errorf("nobody noticed: %s", out)
}

// arguments splits a command line before each flag; a flag's value may have spaces.
func arguments(line string) []string {
	var as []string
	for _, f := range strings.Split(" "+line, " -")[1:] {
		name, value, _ := strings.Cut(f, " ")
		if strings.Contains(name, "=") || value == "" {
			as = append(as, "-"+f)
			continue
		}
		as = append(as, "-"+name, value)
	}
	return as
}

// build compiles the simulation with one core file replaced.
func build(dir string, m mutant) (string, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, e := range append([]mutant{m}, m.also...) {
		if err := edit(dir, e, replace); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sim")
	out, err := exec.Command("go", "build", "-overlay", list, "-o", bin, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return bin, nil
}

// edit writes a core file with a mistake to dir and adds it to what the build replaces.
func edit(dir string, m mutant, replace map[string]string) error {
	file, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		return err
	}
	from, ok := replace[file]
	if !ok {
		from = file
	}
	src, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if n := strings.Count(string(src), m.old); n != 1 {
		return fmt.Errorf("%q occurs %d times in %s", m.old, n, m.file)
	}
	replace[file] = filepath.Join(dir, m.file)
	return os.WriteFile(replace[file], []byte(strings.Replace(string(src), m.old, m.new, 1)), 0o644)
}
