package alarm

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
)

// runHook is how cmd lets programs run.
func runHook(ctx context.Context, c Command) Result {
	r := hook.Run(ctx, hook.Command{Argv: c.Argv, Env: c.Env, Stdin: c.Stdin, Limit: c.Limit})
	if r.ExitCode >= 0 && !r.TimedOut {
		r.Err = nil
	}
	return Result{Code: r.ExitCode, Output: r.Output, Err: r.Err}
}

func program(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// S4-34: a real program gets the notice on its standard input and in its environment; no shell sees any of it.
func TestExec_program(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	n := raised()
	n.Alarm.Object = "$(touch /tmp/x); `id`"
	s := &execSender{x: Exec{Argv: []string{program(t, `cat >"$1"; echo "$UNDERSTUDY_EVENT|$UNDERSTUDY_ALARM|$UNDERSTUDY_ALARM_OBJECT|$UNDERSTUDY_ALARM_SEVERITY|$UNDERSTUDY_ALARM_EVENT_ID" >>"$1"`), out}}, run: runHook, limit: time.Minute}
	if err := s.send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	body, rest, _ := strings.Cut(string(b), "\n")
	var got Notice
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Alarm.ID != 7 || got.Alarm.Object != n.Alarm.Object || got.Event != Raised {
		t.Errorf("%v: %s", err, body)
	}
	if want := "alarm-raised|nic-down|" + n.Alarm.Object + "|major|00-52027\n"; rest != want {
		t.Errorf("got %q, want %q", rest, want)
	}
}

// A program that fails or hangs is reported with what it said, and not run again.
func TestExec_fails(t *testing.T) {
	for lines, want := range map[string]string{"echo no room >&2; exit 7": "exit code 7: no room", "sleep 1000": "time limit"} {
		s := &execSender{x: Exec{Argv: []string{program(t, lines)}}, run: runHook, limit: 300 * time.Millisecond}
		if strings.Contains(lines, "exit") {
			s.limit = time.Minute
		}
		if err := s.send(t.Context(), raised()); !errors.Is(err, errPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", lines, err)
		}
	}
}
