package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// shared is the lab of all end-to-end tests: one network, one pair of SIP servers. Each test gives it sidecars of its own.
var shared struct {
	sync.Mutex
	lab     *lab.Lab
	program string
}

// TestMain moves everything into namespaces of its own, as the end-to-end tests need them.
func TestMain(m *testing.M) {
	inside, code, err := lab.Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need network namespaces:", err)
	}
	if inside {
		code = m.Run()
		if l := shared.lab; l != nil {
			if err := l.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "close the lab:", err)
				code = max(code, 1)
			}
		}
	}
	os.Exit(code)
}

// sharedLab is the lab, with both SIP servers running and no fault, and the program under test.
func sharedLab(t *testing.T) (*lab.Lab, string) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.lab != nil {
		if err := shared.lab.Heal(); err != nil {
			t.Fatal(err)
		}
		return shared.lab, shared.program
	}
	l, err := lab.New(lab.Options{Server: lab.Kamailio})
	if err != nil {
		t.Fatal(err)
	}
	shared.lab, shared.program = l, filepath.Join(l.Dir(), "understudy-program") // not the name of a folder of the lab
	cmd := exec.Command("go", "build", "-o", shared.program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build understudy: %v\n%s", err, out)
	}
	return shared.lab, shared.program
}
