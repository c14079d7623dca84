package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
	"github.com/understudy-sip/understudy/supervisor/status"
)

func script(t *testing.T, replace *strings.Replacer, lines ...[]string) string {
	t.Helper()
	var b strings.Builder
	for _, args := range lines {
		r := cli(t, args...)
		fmt.Fprintf(&b, "$ understudy %s\n%s", strings.Join(args, " "), r.stdout)
		for line := range strings.Lines(r.stderr) {
			b.WriteString("2> " + line)
		}
		fmt.Fprintf(&b, "=> %d\n\n", r.code)
	}
	return replace.Replace(b.String())
}

// A mistake in the command line is answered with what may have been meant, and never with exit code 0, 1 or 2.
func TestCLI_mistakes(t *testing.T) {
	lines := [][]string{
		{}, {"stauts"}, {"failover"}, {"frobnicate"}, {"status", "edge-a"}, {"status", "--wach"}, {"status", "-x"}, {"status", "-o", "yaml"},
		{"switchover", "edge-b"}, {"switchover", "--too", "edge-b"}, {"switchover", "--to"}, {"pause"}, {"pause", "2h"}, {"pause", "--for", "2h"},
		{"pause", "--for", "2d", "--reason", "r"}, {"pause", "--for", "1s", "--reason", "r"}, {"pause", "--for", "2h", "--reason", ""},
		{"resume", "now"}, {"history", "5"}, {"history", "-n", "0"}, {"history", "-n", "x"}, {"check", "my.yaml"}, {"run", "now"}, {"version", "x"},
		{"pki"}, {"pki", "inti"}, {"pki", "issue"}, {"pki", "issue", "--all", "edge-a"}, {"pki", "init", "sip-edge"}, {"man"}, {"--nod", "edge-a"},
		{"completion", "tcsh"}, {"help", "stauts"}, {"alarm"}, {"alarm", "lst"}, {"alarm", "raise"}, {"alarm", "clear"}, {"alarm", "ack", "a", "b"},
		{"alarm", "list", "x"},
	}
	for _, args := range lines {
		if got := cli(t, args...).code; got != exitUsage {
			t.Errorf("%v: got exit code %d, want %d", args, got, exitUsage)
		}
	}
	golden(t, "testdata/mistakes.txt", script(t, strings.NewReplacer(), lines...))
}

// What people see of help: the verbs in groups, and every verb with an example where one helps.
func TestCLI_help(t *testing.T) {
	lines := [][]string{{"--help"}}
	for _, verb := range []string{"run", "check", "status", "explain", "history", "demo", "switchover", "pause", "resume", "pki", "version", "alarm"} {
		lines = append(lines, []string{verb, "--help"})
	}
	lines = append(lines, []string{"pki", "init", "--help"}, []string{"pki", "issue", "--help"})
	for _, verb := range []string{"list", "conditions", "raise", "clear", "ack"} {
		lines = append(lines, []string{"alarm", verb, "--help"})
	}
	golden(t, "testdata/help.txt", script(t, strings.NewReplacer(), lines...))
}

// Without a daemon every verb says what to do, and ends with a code that is no verdict on the pair.
func TestCLI_noDaemon(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "good.yaml"), []byte(minimal+"api:\n  socket: "+dir+"/{node}.sock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A mistake elsewhere in the file does not keep anybody from asking the daemon.
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(minimal+"prest: fast\napi:\n  socket: "+dir+"/{node}.sock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/no-daemon.txt", script(t, strings.NewReplacer(dir, "DIR"),
		[]string{"status", "--socket", dir + "/u.sock"},
		[]string{"status", "-c", dir + "/good.yaml"},
		[]string{"status", "-c", dir + "/bad.yaml", "--node", "edge-b"},
		[]string{"history", "-c", dir + "/bad.yaml"},
		[]string{"switchover", "-c", dir + "/good.yaml"},
		[]string{"pause", "--for", "1h", "--reason", "r", "-c", dir + "/good.yaml"},
		[]string{"resume", "-c", dir + "/good.yaml"},
		[]string{"explain", "-c", dir + "/good.yaml"},
		[]string{"alarm", "list", "-c", dir + "/good.yaml"},
		[]string{"alarm", "raise", "x", "-c", dir + "/good.yaml"}))
}

// Orders reach the daemon, and its refusals the person.
func TestCLI_orders(t *testing.T) {
	daemon := &fakeDaemon{in: pair()}
	socket := serve(t, daemon)
	do := func(args ...string) []string { return append(args, "--socket", socket) }
	text := script(t, strings.NewReplacer(" --socket "+socket, ""),
		do("switchover", "--dry-run"), do("switchover", "--to", "wit-1", "--dry-run"), do("switchover", "--to", "edge-a"),
		do("switchover", "--to", "edge-x"), do("switchover", "--reason", "kernel update"),
		do("pause", "--for", "38m", "--reason", "kernel update"), do("resume"), do("resume"))
	daemon.refusal = busy
	text += script(t, strings.NewReplacer(" --socket "+socket, ""), do("switchover"), do("pause", "--for", "1h", "--reason", "r"), do("resume"))
	golden(t, "testdata/orders.txt", text)
}

// Alarms are listed, and orders about them reach the daemon, and its refusals the person.
func TestCLI_alarms(t *testing.T) {
	desk := &fakeDesk{}
	socket := serve(t, &fakeDaemon{in: alarming()}, func(s *status.Server) { s.Alarms = desk })
	do := func(args ...string) []string { return append([]string{"alarm"}, append(args, "--socket", socket)...) }
	hide := strings.NewReplacer(" --socket "+socket, "")
	text := script(t, hide, do("list"), do("list", "-o", "json"), do("list", "--ended"), do("list", "--ended", "-o", "json"), do("raise", "trunk-down", "--object", "trunk-1", "--severity", "major", "--text", "no route"),
		do("raise", "trunk-down", "--severity", "bad"), do("ack", "nic-down", "--object", "edge-a", "--note", "on it"), do("clear", "nic-down", "--object", "edge-a"))
	for _, err := range []error{supervisor.ErrNoAlarm, supervisor.ErrAlarmsFull, alarm.ErrBusy} {
		desk.refusal = err
		text += script(t, hide, do("clear", "nic-down"))
	}
	golden(t, "testdata/alarms.txt", text)
}

// Registrations are counted, shown and compared; the exit code says whether all is the same.
func TestCLI_contacts(t *testing.T) {
	since, compared, four := noon.Add(-time.Hour), noon.Add(-400*time.Millisecond), 4
	desk := &fakeContacts{contacts: status.Contacts{
		At: noon, Node: "edge-a", Role: supervisor.RolePrimary, Epoch: 41, Server: "kamailio", Records: 3, Contacts: 4,
		ByNode: map[supervisor.NodeID]int{"edge-a": 3, "edge-b": 1}, Connections: 1, OnServer: &four, Complete: true, InSync: true, Since: &since,
		Compared: &compared, Connected: true, LagMS: status.ContactLag{Median: 6.1, P99: 11.4, Max: 40.2}, SentBytes: 18204, GotBytes: 960, SendRate: 12.5,
		Learned: 812, Told: 2,
	}}
	socket := serve(t, &fakeDaemon{in: pair()}, func(s *status.Server) { s.Contacts = desk })
	do := func(args ...string) []string {
		return append([]string{"contacts"}, append(args, "--socket", socket)...)
	}
	hide := strings.NewReplacer(" --socket "+socket, "")
	text := script(t, hide, do(), do("-o", "json"), do("--aor", "1001@sip.example.com"), do("--aor", "1001@sip.example.com", "-o", "json"),
		do("--aor", "nobody"), do("--aor", "a\nb"), do("--aor", "x", "--diff"), do("--diff"), do("purge", "1001@sip.example.com"),
		do("purge", "1001@sip.example.com", "--yes"), do("purge"))
	bad := &desk.contacts
	bad.InSync, bad.Differing, bad.Complete, bad.LastError, bad.DiskError, bad.Behind = false, []int{4, 900}, false, "no answer", "no space left", 7
	desk.diff = status.ContactsDiff{Compared: 30, Differing: 22, Examples: []string{"1001@a", "1002@a"}}
	text += script(t, hide, do(), do("--diff"))
	bad.Connected, desk.refusal = false, busy
	text += script(t, hide, do(), do("--diff"), do("purge", "1001@sip.example.com", "--yes"))
	socket = serve(t, &fakeDaemon{in: pair()})
	text += script(t, strings.NewReplacer(" --socket "+socket, ""), do())
	golden(t, "testdata/contacts.txt", text)
}

// The exit code of status is the verdict.
func TestCLI_statusExitCode(t *testing.T) {
	for _, c := range []struct {
		name string
		in   status.Input
		want int
	}{{"good", pair(), 0}, {"degraded", troubled(), 1}, {"no primary", dead(), 2}} {
		t.Run(c.name, func(t *testing.T) {
			socket := serve(t, &fakeDaemon{in: c.in})
			for _, output := range []string{"table", "json"} {
				if r := cli(t, "status", "-o", output, "--socket", socket); r.code != c.want || r.stderr != "" || r.stdout == "" {
					t.Errorf("%s: got %+v, want code %d", output, r, c.want)
				}
			}
		})
	}
}

// The pages for man are made of the command tree: one for each verb that help lists.
func TestCLI_man(t *testing.T) {
	dir := t.TempDir()
	if r := cli(t, "man", filepath.Join(dir, "man8")); r.code != 0 {
		t.Fatal(r)
	}
	for _, page := range []string{"understudy", "understudy-status", "understudy-pki-issue", "understudy-run"} {
		text, err := os.ReadFile(filepath.Join(dir, "man8", page+".8"))
		if err != nil || !strings.Contains(string(text), ".SH SYNOPSIS") || strings.Contains(string(text), "Auto generated") {
			t.Errorf("%s: %v\n%s", page, err, text)
		}
	}
}

// Completion knows verbs, the members of the configuration and the words of -o.
func TestCLI_completion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"edge-a\nedge-b\n:4\n": {"__completeNoDesc", "switchover", "-c", file, "--to", ""},
		"edge-b\n:4\n":         {"__completeNoDesc", "switchover", "-c", file, "--to", "edge-b"},
		"table\njson\n:4\n":    {"__completeNoDesc", "status", "-o", ""},
		"pause\npki\n:4\n":     {"__completeNoDesc", "p"},
	} {
		if r := cli(t, args...); r.stdout != want || r.code != 0 {
			t.Errorf("%v: got %q, want %q", args, r.stdout, want)
		}
	}
	if r := cli(t, "completion", "bash"); r.code != 0 || !strings.Contains(r.stdout, "__start_understudy") {
		t.Errorf("got %d, %.80s", r.code, r.stdout)
	}
}
