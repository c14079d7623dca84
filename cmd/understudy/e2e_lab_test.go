package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// patience bounds every wait of these tests. Nothing here measures speed: what has to happen soon happens, or never.
const patience = 30 * time.Second

// rig is understudy on the lab's three hosts, each with a configuration file of its own, so that a test can make one differ.
type rig struct {
	t       *testing.T
	lab     *lab.Lab
	program string
	dir     string
	preset  string
	extra   string // lines for every configuration file
	twice   bool   // the test provokes two holders
	unmount []string
	prepare func() error // before the first start
	began   time.Duration
	running map[string]*lab.Process
	read    map[string]int64 // where this pair's part of a host's log begins
}

var _ lab.Supervisor = (*rig)(nil)

func allNodes() []string { return append(lab.Members(), lab.Witness) }

// newRig starts a pair and waits until it is healthy. When the test ends, no look of the observer may have seen two holders.
func newRig(t *testing.T, change ...func(*rig)) *rig {
	t.Helper()
	l, program := sharedLab(t)
	p := &rig{t: t, lab: l, program: program, dir: filepath.Join(l.Dir(), "pair"), preset: "default", running: map[string]*lab.Process{}}
	for _, f := range change {
		f(p)
	}
	p.began = lab.Now()
	t.Cleanup(p.finish)
	if err := l.Supervise(p); err != nil {
		t.Fatal(err)
	}
	p.healthy()
	return p
}

func (p *rig) finish() {
	if !p.twice {
		p.oneHolder()
	}
	if p.t.Failed() {
		for _, n := range allNodes() {
			p.t.Logf("log of %s:\n%s", n, tail(p.log(n), 60))
		}
	}
	if err := errors.Join(p.lab.Heal(), p.lab.Supervise(nil)); err != nil {
		p.t.Error(err)
	}
	for _, path := range p.unmount {
		p.must(unix.Unmount(path, 0))
	}
}

// oneHolder checks that no look of the observer has seen two holders.
func (p *rig) oneHolder() {
	p.t.Helper()
	now, wall := lab.Now(), time.Now()
	samples := p.lab.Observer.Window(p.began, now)
	both := lab.TwoHolders(samples, p.began, now)
	if both == 0 {
		return
	}
	p.t.Errorf("two holders for %v", both)
	two := func(s lab.Sample) bool {
		return s.Holders.Has("a") && s.Holders.Has("b") || s.Holders6.Has("a") && s.Holders6.Has("b")
	}
	for i, s := range samples {
		if two(s) {
			for _, near := range samples[max(0, i-8):min(len(samples), i+9)] {
				p.t.Logf("%s: %v; %v by IPv6 (asked: %t)", wall.Add(near.At-now).UTC().Format("15:04:05.000000"), near.Holders, near.Holders6, near.Known6)
			}
			break
		}
	}
}

// What follows is what the lab wants of those who keep a pair in service.

func (p *rig) Name() string           { return "understudy " + p.preset }
func (p *rig) Horizon() time.Duration { return time.Second }

func (p *rig) Start(*lab.Lab) error {
	if err := errors.Join(os.RemoveAll(p.dir), os.MkdirAll(p.dir, 0o700)); err != nil {
		return err
	}
	pki := filepath.Join(p.dir, "pki")
	if err := p.issue(pki, "lab", "a", "b"); err != nil {
		return err
	}
	if out, err := p.lab.Run("a", p.program, "pki", "issue", "--dir", pki, "w", "--witness"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	p.read = map[string]int64{}
	for _, n := range allNodes() {
		if info, err := os.Stat(p.logPath(n)); err == nil {
			p.read[n] = info.Size()
		}
		if err := p.configure(n, nil); err != nil {
			return err
		}
		if err := p.StartSidecar(n); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a CA for a cluster and certificates for members.
func (p *rig) issue(dir, cluster string, members ...string) error {
	if out, err := p.lab.Run("a", p.program, "pki", "init", "--dir", dir, "--cluster", cluster); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for _, m := range members {
		if out, err := p.lab.Run("a", p.program, "pki", "issue", "--dir", dir, m); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return nil
}

// configure writes a node's configuration, as edit has it.
func (p *rig) configure(node string, edit func(string) string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ncluster: lab\npreset: %s\nnodes:\n", p.preset)
	for _, n := range allNodes() {
		kind := "interface: sip0"
		if n == lab.Witness {
			kind = "witness: true"
		}
		fmt.Fprintf(&b, "  %s: {address: \"%v:7946\", sip-address: \"%v\", %s}\n", n, lab.Addr(n, lab.Management), lab.Addr(n, lab.SIP), kind)
	}
	fmt.Fprintf(&b, "state-dir: %[1]s/{node}\ntls: {ca: %[1]s/pki/ca.crt, cert: \"%[1]s/pki/{node}.crt\", key: \"%[1]s/pki/{node}.key\"}\n", p.dir)
	fmt.Fprintf(&b, "service-address: {addresses: [\"%v/32\", \"%v/128\"]}\n", lab.ServiceAddress, lab.ServiceAddress6)
	fmt.Fprintf(&b, "api: {socket: \"%s/{node}.sock\"}\nswitchover-budget: 100/1m\n%s", p.dir, p.extra)
	text := b.String()
	if edit != nil {
		text = edit(text)
	}
	return os.WriteFile(p.config(node), []byte(text), 0o600)
}

func (p *rig) config(node string) string { return filepath.Join(p.dir, node+".yaml") }
func (p *rig) state(node string) string  { return filepath.Join(p.dir, node) }

// StartSidecar starts a node, unless it runs. A shell beside it keeps its exit code.
func (p *rig) StartSidecar(node string) error {
	if p.running[node] != nil && len(p.running[node].PIDs()) > 0 {
		return nil
	}
	proc, err := p.start(node, node, p.config(node))
	p.running[node] = proc
	return err
}

const keepCode = `trap : TERM INT HUP; "$@"; echo $? >"$0"`

func (p *rig) start(host, node, config string) (*lab.Process, error) {
	_ = os.Remove(p.codePath(node))
	return p.lab.Start(host, lab.Command{Name: "e2e", Args: []string{
		"/bin/sh", "-c", keepCode, p.codePath(node), p.program, "run", "-c", config, "--node", node,
	}})
}

func (p *rig) codePath(node string) string { return filepath.Join(p.dir, node+".code") }

func (p *rig) Stop() error {
	var errs []error
	for _, proc := range p.running {
		errs = append(errs, proc.Kill())
	}
	p.running = map[string]*lab.Process{}
	return errors.Join(errs...)
}

func (p *rig) Sidecar(node string) []*lab.Process {
	if proc := p.running[node]; proc != nil {
		return []*lab.Process{proc}
	}
	return nil
}

func (p *rig) Switchover(to string) error {
	_, err := p.cli(to, "switchover", "--to", to)
	return err
}

func (p *rig) Healthy() error {
	var errs []error
	for _, n := range allNodes() {
		if out, err := p.cli(n, "status"); err != nil {
			errs = append(errs, fmt.Errorf("%w\n%s", err, out))
		}
	}
	return errors.Join(errs...)
}

// cli runs a verb at a node and gives what it printed.
func (p *rig) cli(node string, args ...string) (string, error) {
	out, err := p.lab.Run(node, append([]string{p.program}, append(args, "-c", p.config(node), "--node", node)...)...)
	return string(out), err
}

// status is the pair as a node knows it, or false while its daemon does not answer.
func (p *rig) status(node string) (s status.Snapshot, ok bool) {
	out, _ := p.cli(node, "status", "-o", "json") // the exit code is the verdict's
	return s, json.Unmarshal([]byte(out), &s) == nil
}

func (p *rig) history(node string) []supervisor.Switchover {
	p.t.Helper()
	out, err := p.cli(node, "history", "-n", "1000", "-o", "json")
	var h []supervisor.Switchover
	if err := errors.Join(err, json.Unmarshal([]byte(out), &h)); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// epoch is that of the record at a node.
func (p *rig) epoch(node string) supervisor.Epoch {
	s, _ := p.status(node)
	return s.Epoch
}

// primary is the member that answers at the service address.
func (p *rig) primary() string {
	p.t.Helper()
	var who string
	p.until("somebody serves", func() bool { who = p.lab.Primary(); return who != "" })
	return who
}

// healthy waits until the pair is: SIP servers, address, sidecars.
func (p *rig) healthy() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.lab.WaitHealthy(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// until waits for something.
func (p *rig) until(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// within waits for what takes long, looking five times a second.
func (p *rig) within(limit time.Duration, what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// untilStatus waits until a node's status says something.
func (p *rig) untilStatus(node, what string) {
	p.t.Helper()
	p.until(fmt.Sprintf("status of %s says %q", node, what), func() bool {
		out, _ := p.cli(node, "status")
		return strings.Contains(out, what)
	})
}

// untilLog waits until a host's log says something, and gives that line.
func (p *rig) untilLog(host, what string) (line string) {
	p.t.Helper()
	defer func() {
		if line == "" {
			p.t.Logf("log of %s:\n%s", host, tail(p.log(host), 20))
		}
	}()
	p.until(fmt.Sprintf("log of %s says %q", host, what), func() bool {
		for l := range strings.Lines(p.log(host)) {
			if strings.Contains(l, what) {
				line = strings.TrimSpace(l)
				return true
			}
		}
		return false
	})
	p.t.Logf("%s: %s", host, line)
	return line
}

// code waits until a node has ended, and gives its exit code.
func (p *rig) code(node string) int {
	p.t.Helper()
	code := -1
	p.until(node+" ends", func() bool {
		text, err := os.ReadFile(p.codePath(node))
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		code, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return code
}

func (p *rig) signal(node string, s syscall.Signal) {
	p.t.Helper()
	if err := p.running[node].Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *rig) kill(nodes ...string) {
	p.t.Helper()
	for _, n := range nodes { // at once: Kill waits
		p.signal(n, syscall.SIGKILL)
	}
	for _, n := range nodes {
		p.must(p.running[n].Kill())
	}
}

func (p *rig) restart(nodes ...string) {
	p.t.Helper()
	for _, n := range nodes {
		p.must(p.StartSidecar(n))
	}
}

func (p *rig) run(host string, args ...string) {
	p.t.Helper()
	_, err := p.lab.Run(host, args...)
	p.must(err)
}

func (p *rig) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// outage is what the client noticed since a moment, and who answered.
func (p *rig) outage(since time.Duration) lab.Outage {
	time.Sleep(lab.AnswerLimit) // the last requests may still be answered
	now := lab.Now() - lab.AnswerLimit
	return lab.MeasureOutage(p.lab.Client.Window(since, now), since, now)
}

// away reports whether the service was away for longer than any fault explains. A gap that has only just opened is none: the client was late.
func away(o lab.Outage) bool { return o.Longest > generous || o.Open && o.Longest > lab.AnswerLimit }

// stayed checks that nothing happened to the service since a moment: the role stayed where it was.
func (p *rig) stayed(since time.Duration, with string) {
	p.t.Helper()
	o := p.outage(since)
	p.t.Logf("served by %v, longest gap %v, %d of %d lost", o.Servers, o.Longest, o.Lost, o.Asked)
	if len(o.Servers) != 1 || o.Servers[0] != with || away(o) {
		p.t.Errorf("%s did not serve all the time: %+v", with, o)
	}
}

func (p *rig) logPath(host string) string { return filepath.Join(p.lab.Dir(), "e2e-"+host+".log") }

// log is what this pair's sidecar at a host has logged.
func (p *rig) log(host string) string {
	text, err := os.ReadFile(p.logPath(host))
	if err != nil {
		return err.Error()
	}
	return string(text[min(p.read[host], int64(len(text))):])
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
