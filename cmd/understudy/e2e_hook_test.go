package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// Hooks that hang, flood and fork: no role change waits for them, each is ended at its limit, and no process is left.
func TestHook_hostile(t *testing.T) {
	for name, script := range map[string]string{
		"hangs":  "exec sleep 1000.25",
		"stays":  "trap '' TERM; while :; do sleep 1000.25; done",
		"floods": "exec yes 1000.25",
		"forks":  "for i in 1 2 3 4 5; do sleep 1000.25 & done; exec sleep 1000.25",
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, func(p *rig) {
				hook := filepath.Join(p.lab.Dir(), "hook-"+name)
				p.must(os.WriteFile(hook, []byte("#!/bin/sh\necho ran >>"+hook+".$UNDERSTUDY_NODE\n"+script+"\n"), 0o700)) //nolint:gosec // it is run
				p.extra = fmt.Sprintf("hooks: {on-primary: [%[1]s], on-backup: [%[1]s], notify: [%[1]s], timeout: 1s}\n", hook)
			})
			for range 4 {
				to := lab.Peer(p.primary())
				at := lab.Now()
				p.must(p.Switchover(to))
				p.until(to+" serves", func() bool { return p.lab.Primary() == to })
				o := p.outage(at)
				t.Logf("outage %v, %d lost", o.Longest, o.Lost)
				if away(o) || o.Longest > time.Second {
					t.Errorf("the hooks delayed the switchover: %+v", o)
				}
			}
			p.healthy()
			p.untilLog(p.primary(), "ended at its time limit")
			p.until("an alarm says so", func() bool {
				out, _ := p.cli(p.primary(), "alarm", "list")
				return strings.Contains(out, "hook-failed")
			})
			p.must(p.Stop())
			p.until("no hook is left", func() bool {
				out, _ := p.lab.Run("a", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
				return !strings.Contains(string(out), "sleep 1000.25") && !strings.Contains(string(out), "yes 1000.25")
			})
		})
	}
}

// A primary that is stopped in order waits for its on-backup hook: what it sets in motion is done when the sidecar is gone.
func TestHook_leave(t *testing.T) {
	p := newRig(t, func(p *rig) {
		hook := filepath.Join(p.lab.Dir(), "hook-leave")
		p.must(os.WriteFile(hook, []byte("#!/bin/sh\nsleep 1\necho $UNDERSTUDY_ROLE >>"+hook+".$UNDERSTUDY_NODE\n"), 0o700)) //nolint:gosec // it is run
		p.extra = fmt.Sprintf("hooks: {on-backup: [%s], timeout: 5s}\n", hook)
	})
	primary := p.primary()
	p.signal(primary, syscall.SIGTERM)
	if code := p.code(primary); code != 0 {
		t.Errorf("exit code %d", code)
	}
	said, err := os.ReadFile(filepath.Join(p.lab.Dir(), "hook-leave."+primary))
	p.must(err)
	if roles := strings.Fields(string(said)); len(roles) == 0 || roles[len(roles)-1] != "backup" {
		t.Errorf("roles that the hook was told: got %q, want backup at last", roles)
	}
}
