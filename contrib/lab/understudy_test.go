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

// The preset fast, and every behaviour of the embedded server: no two members ever hold the service address, the service comes back
// before anybody heals anything, and the pair is whole again afterwards. A busy machine may make the short lease lapse: where the role is,
// the tests of the command tell, with the default preset, Kamailio and every fault. How fast is the bench's business.
func TestUnderstudy_faults(t *testing.T) {
	s, err := Understudy(buildUnderstudy(t), "fast")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, Embedded)
	if err := l.Supervise(s); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"server-killed", "host-dead", "primary-isolated", "sidecar-frozen", "switchover-loaded", "listener-missing", "server-stalled",
		"options-refused", "options-dead", "overloaded", "swamped", "stale-neighbours", "vip-elsewhere",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := FaultByName(name)
			if err != nil {
				t.Fatal(err)
			}
			checkFault(t, f, measure(t, l, name))
			if t.Failed() {
				tellLogs(t, s)
			}
		})
	}
}

func checkFault(t *testing.T, f Fault, r Result) {
	t.Helper()
	if r.Unhealthy != "" {
		t.Error(r.Unhealthy)
	}
	if r.Both > 0 && !f.Twice {
		t.Errorf("two holders for %v", r.Both)
	}
	if r.During.Open && !f.Down {
		t.Errorf("the service was away for %v and did not come back", r.During.Longest)
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
