package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// What people see at 03:00. No output plays with the terminal, whatever a SIP server answered.
func TestRenderStatus(t *testing.T) {
	held := pair()
	a := held.Reports["edge-a"]
	a.State, a.LeaseLeft = supervisor.Clinging, 0
	held.Reports = map[supervisor.NodeID]status.Heard{"edge-a": a}
	for name, in := range map[string]status.Input{"good": pair(), "troubled": troubled(), "dead": dead(), "fresh": fresh(), "held": held} {
		t.Run(name, func(t *testing.T) {
			text := renderStatus(status.Build(in), time.UTC)
			golden(t, "testdata/status-"+name+".txt", text)
			if strings.Contains(text, "\x1b") {
				t.Error("an escape sequence came through")
			}
		})
	}
}

func TestRenderHistory(t *testing.T) {
	history := pair().Record.History
	golden(t, "testdata/history.txt", renderHistory(newest(history, 20), time.UTC)+"\n"+renderHistory(newest(history, 1), time.UTC)+"\n"+
		renderHistory(nil, time.UTC))
}

// watching runs a watch in virtual time until end, with the daemon answering as ask says, and gives what was written.
func watching(t *testing.T, v *statusView, end time.Duration) (string, error) {
	t.Helper()
	var out bytes.Buffer
	v.out, v.zone = &out, time.UTC
	ctx, cancel := context.WithTimeout(t.Context(), end)
	defer cancel()
	err := v.watch(ctx)
	return out.String(), err
}

// A watch draws every second and at once on a change, and ends with the code of what was seen last.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := &statusView{ask: func(context.Context) (status.Snapshot, error) {
			in := pair()
			if time.Since(start) > 2300*time.Millisecond {
				in = dead()
			}
			return status.Build(in), nil
		}}
		out, err := watching(t, v, 3*time.Second)
		var exit *exitError
		if !errors.As(err, &exit) || exit.Code != 2 {
			t.Errorf("got %v, want exit code 2", err)
		}
		// At 0, 1, 2 s, and at 2.5 s the change.
		if good, bad := strings.Count(out, "   good   "), strings.Count(out, "NO PRIMARY"); good != 3 || bad != 1 {
			t.Errorf("got %d good and %d bad frames:\n%s", good, bad, out)
		}
	})
}

// On a terminal a frame is drawn over the last one; a daemon that goes away is said so, and comes back.
func TestWatch_terminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := &statusView{terminal: true, origin: "the path is from --socket", ask: func(context.Context) (status.Snapshot, error) {
			if s := time.Since(start); s > 400*time.Millisecond && s < 900*time.Millisecond {
				return status.Snapshot{}, &status.Unreachable{Socket: "/run/u.sock", Hint: "start it", Err: unix.ECONNREFUSED}
			}
			return status.Build(pair()), nil
		}}
		out, err := watching(t, v, 1200*time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		frames := strings.Split(out, "\x1b[H")[1:]
		if len(frames) != 3 || !strings.Contains(frames[1], "no daemon answers on /run/u.sock: connection refused") {
			t.Errorf("got %d frames: %q", len(frames), frames)
		}
		for _, f := range frames {
			if !strings.HasSuffix(f, "\x1b[J") || strings.Count(f, "\n") != strings.Count(f, "\x1b[K\n") {
				t.Errorf("rests of the last frame may stay: %q", f)
			}
		}
	})
}

// With -o json a watch writes one document a line.
func TestWatch_json(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &statusView{json: true, ask: func(context.Context) (status.Snapshot, error) { return status.Build(pair()), nil }}
		out, err := watching(t, v, 1100*time.Millisecond)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[1], `{"cluster":"sip-edge"`) {
			t.Errorf("got %v, %d lines: %.200s", err, len(lines), out)
		}
	})
}
