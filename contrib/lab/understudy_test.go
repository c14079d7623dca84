package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// buildUnderstudy builds the program under test.
func buildUnderstudy(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "understudy")
	cmd := exec.Command("go", "build", "-o", program, "../../cmd/understudy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build understudy: %v\n%s", err, out)
	}
	return program
}

// Every fault once, with real Kamailio: the role moves or stays as it should, no two members ever hold the service address, the service
// comes back before anybody heals anything, and the pair is whole again afterwards. How fast is the bench's business.
func TestUnderstudy_faults(t *testing.T) {
	program := buildUnderstudy(t)
	for _, preset := range []string{"default", "fast"} {
		t.Run(preset, func(t *testing.T) {
			s, err := Understudy(program, preset)
			if err != nil {
				t.Fatal(err)
			}
			l := newLab(t, Kamailio)
			if err := l.Supervise(s); err != nil {
				t.Fatal(err)
			}
			for _, f := range Faults() {
				t.Run(f.Name, func(t *testing.T) {
					expect := f.Expect
					if preset != "default" {
						expect = Either // a busy machine may make its short lease lapse
					}
					checkFault(t, measure(t, l, f.Name), expect)
					if t.Failed() {
						tellLogs(t, s)
					}
				})
			}
		})
	}
}

func checkFault(t *testing.T, r Result, expect Expectation) {
	t.Helper()
	if r.Unhealthy != "" {
		t.Error(r.Unhealthy)
	}
	if r.Both > 0 {
		t.Errorf("two holders for %v", r.Both)
	}
	if r.During.Open {
		t.Errorf("the service was away for %v and did not come back", r.During.Longest)
	}
	switch {
	case expect == Moves && !r.Moved():
		t.Errorf("the role stayed with %s", r.Primary)
	case expect == Stays && len(r.During.Servers) > 1:
		t.Errorf("the role moved: %v", r.During.Servers)
	}
	if r.Load != nil && r.Load.Lost > 0 {
		t.Errorf("%d of %d requests lost for good", r.Load.Lost, r.Load.Sent)
	}
}

func tellLogs(t *testing.T, s Supervisor) {
	t.Helper()
	for _, host := range append(Members(), Witness) {
		for _, p := range s.Sidecar(host) {
			t.Logf("the sidecar at %s: %s", host, p.logTail())
		}
	}
}

// A program that isn't there is named.
func TestUnderstudy_missing(t *testing.T) {
	if _, err := Understudy(filepath.Join(t.TempDir(), "understudy"), "default"); err == nil {
		t.Error("no error")
	}
}
