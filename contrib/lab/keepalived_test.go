package lab

import (
	"os"
	"strings"
	"testing"
	"time"
)

// keepalivedLab is a lab with keepalived, healthy. The published configuration needs root: elsewhere keepalived can't run its check.
func keepalivedLab(t *testing.T, s Supervisor) *Lab {
	t.Helper()
	l := newLab(t, Kamailio)
	if err := l.Supervise(s); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitHealthy(timeout(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	return l
}

func measure(t *testing.T, l *Lab, name string) Result {
	t.Helper()
	f, err := FaultByName(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Measure(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	return r
}

// A tuned keepalived does what is known of it: it moves the address when the server or the host dies, when the server hangs or its
// interface fails, when SIP is lost one way and when it is asked; and the lab gets the pair healthy again every time.
func TestMeasure_keepalivedMoves(t *testing.T) {
	l := keepalivedLab(t, KeepalivedTuned())
	for _, f := range []string{"server-killed", "server-frozen", "host-dead", "sip-nic-down", "sip-one-way", "switchover-loaded"} {
		t.Run(f, func(t *testing.T) {
			r := measure(t, l, f)
			if !r.Moved() || r.During.Open || r.Unhealthy != "" {
				t.Errorf("moved: %t, open: %t, unhealthy: %q", r.Moved(), r.During.Open, r.Unhealthy)
			}
			if r.Load != nil && (r.Load.Lost > 0 || r.Load.Sent < 100) {
				t.Errorf("load: %+v", r.Load)
			}
		})
	}
}

// Cutting the members apart gives keepalived two masters, and the observer sees them for as long.
func TestMeasure_keepalivedSplits(t *testing.T) {
	l := keepalivedLab(t, KeepalivedTuned())
	r := measure(t, l, "partition")
	if r.Unhealthy != "" {
		t.Error(r.Unhealthy)
	}
	if least := r.Lasted * 8 / 10; r.Both < least {
		t.Errorf("two holders for %v of %v, want at least %v", r.Both, r.Lasted, least)
	}
}

// Faults without a pair to strike, and names of none, are errors.
func TestInject_refuses(t *testing.T) {
	l := newLab(t, Embedded)
	if _, err := l.Inject(faults[0]); err != ErrNoSupervisor {
		t.Errorf("without a supervisor: %v", err)
	}
	if _, err := FaultByName("no-such"); err == nil || !strings.Contains(err.Error(), "server-killed") {
		t.Errorf("a wrong name: %v, want the right ones", err)
	}
}

// Both servers die and come back by themselves two seconds later; what it costs is no less.
func TestMeasure_bothAtOnce(t *testing.T) {
	l := keepalivedLab(t, KeepalivedTuned())
	r := measure(t, l, "both-at-once")
	if r.During.Longest < bothDown || r.During.Open || r.Unhealthy != "" {
		t.Errorf("outage %v, open %t, unhealthy %q", r.During.Longest, r.During.Open, r.Unhealthy)
	}
}

// The idle keepalived costs something that can be seen.
func TestMeasureIdle(t *testing.T) {
	l := keepalivedLab(t, KeepalivedTuned())
	usage, err := l.MeasureIdle(t.Context(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Members() {
		if u := usage[m]; u.RSS < 1 || u.CPU < 0 {
			t.Errorf("%s: %+v", m, u)
		}
	}
	if u, ok := usage[Witness]; ok {
		t.Errorf("keepalived has no witness, but it costs %+v", u)
	}
}

// As an ordinary user the published configuration is refused, because its check would never fail; as root it runs.
func TestKeepalivedPublished(t *testing.T) {
	raw, err := os.ReadFile("/proc/self/setgroups")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(raw)) == "deny" {
		l := newLab(t, Embedded)
		if err := l.Supervise(KeepalivedPublished()); err != ErrScripts {
			t.Errorf("got %v, want %v", err, ErrScripts)
		}
		return
	}
	keepalivedLab(t, KeepalivedPublished())
}
