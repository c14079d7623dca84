package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// started runs a queue until the test ends.
func started(t *testing.T, o Options) *Queue {
	t.Helper()
	o.Logger = zap.NewNop()
	q, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return q
}

func drain(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := q.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func role(r supervisor.Role, epoch supervisor.Epoch) Event {
	return Event{Event: "role", Node: "a", Cluster: "pbx", Role: r, Epoch: epoch, Primary: "a", Why: "because"}
}

// While a role hook runs, only the newest of the roles that follow is kept.
func TestQueue_roleIsALevel(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	log := filepath.Join(t.TempDir(), "log")
	path := script(t, `echo "$UNDERSTUDY_ROLE $UNDERSTUDY_EPOCH" >>`+log+`; while [ ! -e `+gate+` ]; do sleep 0.01; done`)
	q := started(t, Options{OnPrimary: []string{path}, OnBackup: []string{path}})
	q.Role(role(supervisor.RolePrimary, 1))
	for q.busyNow() == 0 {
		time.Sleep(time.Millisecond)
	}
	q.Role(role(supervisor.RoleBackup, 2))
	q.Role(role(supervisor.RolePrimary, 3))
	q.Role(role(supervisor.RoleBackup, 4))
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	drain(t, q)
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "primary 1\nbackup 4\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A role without a hook takes back the one that waits.
func TestQueue_roleWithoutHook(t *testing.T) {
	q, err := New(Options{OnPrimary: []string{script(t, "")}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	q.Role(role(supervisor.RolePrimary, 1))
	q.Role(role(supervisor.RoleNone, 1))
	drain(t, q)
}

func TestQueue_notifyKeepsOrderAndBound(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	o := Options{Notify: []string{script(t, `echo "$UNDERSTUDY_EVENT" >>`+log)}, Logger: zap.NewNop()}
	q, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range NotifyLimit + 5 {
		q.Notify(Event{Event: fmt.Sprint("e", i)})
	}
	if got := q.Dropped(); got != 5 {
		t.Errorf("dropped: got %d, want 5", got)
	}
	q.notify = q.notify[:20]
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	drain(t, q)
	cancel()
	<-done
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(got))
	if len(lines) != 20 {
		t.Fatalf("got %d runs, want 20", len(lines))
	}
	for i, l := range lines {
		if want := fmt.Sprint("e", i); l != want {
			t.Errorf("run %d: got %s, want %s", i, l, want)
		}
	}
}

// A hook that hangs delays neither callers nor the other kind of hook.
func TestQueue_hangingHook(t *testing.T) {
	ran := make(chan Event, 1)
	q := started(t, Options{
		Notify: []string{script(t, "sleep 1000")}, OnBackup: []string{script(t, "cat")}, Limit: time.Hour,
		Done: func(hook string, ev Event, r Result) {
			if hook == "on-backup" {
				if !strings.Contains(string(r.Output), `"role":"backup"`) {
					t.Errorf("got %q, %v", r.Output, r.Err)
				}
				ran <- ev
			}
		},
	})
	q.Notify(Event{Event: "hang"})
	q.Role(role(supervisor.RoleBackup, 9))
	if ev := <-ran; ev.Epoch != 9 {
		t.Errorf("got %+v", ev)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := q.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: got %v", err)
	}
}

func TestNew_namesBadHooks(t *testing.T) {
	_, err := New(Options{OnPrimary: []string{"/nonexistent/a"}, Notify: []string{"b"}, Logger: zap.NewNop()})
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "on-primary: /nonexistent/a") || !strings.Contains(err.Error(), "notify: b") {
		t.Errorf("got %v", err)
	}
}

func (q *Queue) busyNow() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy
}
