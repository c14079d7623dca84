package registrar

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// TestMain moves everything into namespaces of its own: raw sockets need capabilities there, and servers end with the tests. The fuzz engine speaks
// with its workers over files that would not come along.
func TestMain(m *testing.M) {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") }) {
		os.Exit(m.Run())
	}
	inside, code, err := lab.Isolate()
	if inside {
		var out []byte
		if out, err = exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err == nil {
			code = m.Run()
		} else {
			code, err = 1, fmt.Errorf("set up the loopback interface: %w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need network namespaces:", err)
	}
	os.Exit(code)
}
