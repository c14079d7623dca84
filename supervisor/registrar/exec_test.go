package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/hook"
	"github.com/understudy-sip/understudy/supervisor/location"
)

// runHook is how cmd lets programs run.
func runHook(ctx context.Context, c ExecCommand) ExecResult {
	r := hook.Run(ctx, hook.Command{Argv: c.Argv, Stdin: c.Stdin, Limit: c.Limit})
	if r.ExitCode >= 0 && !r.TimedOut {
		r.Err = nil
	}
	return ExecResult{Code: r.ExitCode, Output: r.Output, Partial: r.Dropped > 0, Err: r.Err}
}

func program(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTestExec(t *testing.T, apply, lookup []string) *Exec {
	t.Helper()
	o := DefaultExecOptions()
	o.Apply, o.Lookup, o.Run, o.Check, o.Now, o.Limit = apply, lookup, runHook, hook.Check, testNow, 10*time.Second
	e, err := NewExec(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What is applied is what a program that keeps it gives back; no shell sees any of it.
func TestExec_appliesAndLooksUp(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "kept")
	e := newTestExec(t, []string{program(t, `cat >"$1"`), kept}, []string{program(t, `read -r line; cat "$1"`), kept})
	one, two := binding("$(touch /tmp/x)"), binding("1001")
	one.Q, one.Methods, one.Socket, one.Instance, one.RegID = location.NoQ, 3, "udp:192.0.2.1:5060", "<urn:uuid:1>", 2
	two.Q = 0
	want := []location.Binding{one, two}
	if err := e.Apply(t.Context(), "1001@example.net", want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	var request execRequest
	if err := json.Unmarshal(data, &request); err != nil || request.Version != 1 || request.Action != "apply" || request.AOR != "1001@example.net" {
		t.Errorf("%v: %s", err, data)
	}
	answer, _ := json.Marshal(map[string]any{"bindings": request.Bindings})
	if err := os.WriteFile(kept, answer, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := e.Lookup(t.Context(), "1001@example.net")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	if err := e.Apply(t.Context(), "1001@example.net", nil); err != nil {
		t.Fatal(err)
	}
	if data, _ = os.ReadFile(kept); !strings.Contains(string(data), `"bindings":[]`) {
		t.Errorf("to remove all: %s", data)
	}
}

// A program that fails, hangs or writes too much or nonsense is an error, which does not repeat what it wrote.
func TestExec_fails(t *testing.T) {
	for lines, want := range map[string]string{
		"echo 1001 is broken >&2; exit 7": "exit code 7", "sleep 1000": "time limit", "head -c 100000 /dev/zero": "too long", "echo 1001": "no object",
		`echo '{}'`: "no object", `echo '{"bindings":[{"contact":""}]}'`: "without contact", `echo '{"bindings":[]} 1001'`: "no object",
		`echo '{"bindings":[{"contact":"sip:x","expires_in":5,"q":2000}]}'`: "impossible q", `echo '{"bindings":[],"x":1}'`: "no object",
	} {
		e := newTestExec(t, []string{"/bin/true"}, []string{program(t, lines)})
		e.options.Limit = 500 * time.Millisecond
		if got, err := e.Lookup(t.Context(), "1001"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(strings.ReplaceAll(err.Error(), t.TempDir(), ""), "1001 ") {
			t.Errorf("%s: got %v, %v", lines, got, err)
		}
	}
	e := newTestExec(t, []string{program(t, "exit 1")}, nil)
	if err := e.Apply(t.Context(), "1001", nil); err == nil {
		t.Error("no error")
	}
	if _, err := e.Lookup(t.Context(), "1001"); !errors.Is(err, ErrCannotAsk) {
		t.Error(err)
	}
}

func TestNewExec_validates(t *testing.T) {
	good := DefaultExecOptions()
	good.Apply, good.Run, good.Now, good.Check = []string{"/bin/true"}, runHook, testNow, hook.Check
	if _, err := NewExec(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ExecOptions){
		"none":          func(o *ExecOptions) { o.Apply = nil },
		"relative path": func(o *ExecOptions) { o.Apply = []string{"true"} },
		"no file":       func(o *ExecOptions) { o.Lookup = []string{"/nonexistent"} },
		"nobody runs":   func(o *ExecOptions) { o.Run = nil },
	} {
		o := good
		change(&o)
		if _, err := NewExec(o); err == nil {
			t.Error(name)
		}
	}
}
