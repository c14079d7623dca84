package raftstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// faulty starts a node whose writes to disk do what fault says.
func (p *testPair) faulty(id nodeID, fault *atomic.Pointer[func(string) error]) *testNode {
	p.t.Helper()
	n := &testNode{id: id, done: make(chan error, 1), peers: map[nodeID]bool{}, logs: &logBook{}}
	o := p.options(id)
	n.watch(&o)
	o.Logger = newTestLogger(n.logs)
	var err error
	if n.Store, err = Open(o); err != nil {
		p.t.Fatal(err)
	}
	n.Store.before = func(op string) error {
		if f := fault.Load(); f != nil {
			return (*f)(op)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.done <- n.Run(ctx) }()
	p.live[id] = n
	return n
}

// A leader whose disk is full gives up leadership and its vote, its lease messages go on, and it comes back when there is room.
func TestFailure_fullDisk(t *testing.T) {
	p := newTestPair(t)
	var fault atomic.Pointer[func(string) error]
	a, b, w := p.faulty("a", &fault), p.start("b"), p.start("w")
	p.synced(a, b, w)
	eventually(t, "a leads", func() bool {
		led := p.leader(a, b, w)
		return led == a || led.Transfer(context.Background(), "a") == nil && p.leader(a, b, w) == a
	})
	a.propose(t, roleEntry(1, "a"))
	full := func(string) error { return unix.ENOSPC }
	fault.Store(&full)
	if err := a.Propose(context.Background(), roleEntry(2, "b")); err == nil {
		t.Error("an entry was committed without a disk")
	}
	eventually(t, "the others elect a leader", func() bool { return p.leader(b, w) != a })
	epoch := p.advance(b, b, w)
	eventually(t, "a tells", func() bool { return strings.Contains(a.Status().StoreErr, "no space left") })
	before := b.Status().Lease.Received
	eventually(t, "a's lease messages go on", func() bool { a.Send("b", testMessage); return b.Status().Lease.Received > before+10 })
	fault.Store(nil)
	p.agree(epoch, a, b, w)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.store) != 2 || a.store[0] == nil || a.store[1] != nil {
		t.Errorf("OnStore was told %v, want an error and its end", a.store)
	}
	var last supervisor.Epoch
	for _, r := range a.records {
		if r.r.Epoch < last {
			t.Errorf("epoch %d after %d", r.r.Epoch, last)
		}
		last = r.r.Epoch
	}
}

// Whatever write fails first, at leader or follower, at whatever moment: raft doesn't panic and the pair goes on.
func TestFailure_anyWrite(t *testing.T) {
	p := newTestPair(t)
	var fault atomic.Pointer[func(string) error]
	a, b, w := p.faulty("a", &fault), p.start("b"), p.start("w")
	p.synced(a, b, w)
	for _, op := range []string{"append to the log", "save " + keyTerm, "save " + keyVoteTerm, "save " + keyVoteFor} {
		t.Run(op, func(t *testing.T) {
			hit := make(chan struct{})
			var once atomic.Bool
			fail := func(got string) error {
				if got == op && once.CompareAndSwap(false, true) {
					close(hit)
					return unix.ENOSPC
				}
				return nil
			}
			fault.Store(&fail)
			eventually(t, "the write is tried", func() bool {
				if op != "append to the log" {
					a.Campaign() // saves a term and a vote
				}
				_ = b.Propose(context.Background(), roleEntry(b.record().Epoch+1, "b"))
				select {
				case <-hit:
					return true
				default:
					return false
				}
			})
			eventually(t, "a tells", func() bool { return a.Status().StoreErr != "" })
			p.advance(b, b, w)
			p.advance(b, a, b, w) // a is back
		})
	}
}

// A leader whose disk hangs is told about, and the others elect one that can commit although it goes on beating.
func TestFailure_hungDisk(t *testing.T) {
	p := newTestPair(t)
	var fault atomic.Pointer[func(string) error]
	a, b, w := p.faulty("a", &fault), p.start("b"), p.start("w")
	p.synced(a, b, w)
	eventually(t, "a leads", func() bool {
		led := p.leader(a, b, w)
		return led == a || led.Transfer(context.Background(), "a") == nil && p.leader(a, b, w) == a
	})
	release := make(chan struct{})
	hang := func(string) error { <-release; return nil }
	fault.Store(&hang)
	go a.Propose(context.Background(), roleEntry(1, "a"))
	eventually(t, "a is told", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.stalls) > 0 && a.stalls[0] >= stallAfter })
	eventually(t, "the others elect a leader", func() bool { return p.leader(b, w) != a })
	p.advance(b, b, w)
	before := b.Status().Lease.Received
	eventually(t, "a's lease messages go on", func() bool { a.Send("b", testMessage); return b.Status().Lease.Received > before })
	fault.Store(nil)
	close(release)
	p.advance(b, a, b, w)
}

// A really full file system doesn't stop a node: room was set aside. It is an error to start on one, with its name.
func TestFailure_fullFileSystem(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	p := newTestPair(t)
	small := p.state("a")
	if err := os.MkdirAll(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := p.live["a"]; n != nil {
			n.stop()
		}
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	a, b, w := p.startAll()
	ballast := filepath.Join(small, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the file system is not full: %v", err)
	}
	for i := range 30 {
		a.propose(t, roleEntry(supervisor.Epoch(i+1), "a"))
	}
	p.agree(30, a, b, w)
	if st := a.Status(); st.StoreErr != "" {
		t.Errorf("a says %q", st.StoreErr)
	}
	a.stop()
	if _, err := p.try("a"); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "state folder is not writable") {
		t.Errorf("start on a full file system: got %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a = p.start("a")
	p.synced(a)
	p.agree(30, a)
}

// inMountNamespace runs the calling test again in a process with mounts of its own, and reports whether this is that process.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	const marker = "RAFTSTORE_MOUNTS"
	if os.Getenv(marker) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a mount namespace (needs root or unprivileged user namespaces): %v\n%s", err, out)
	}
	return false
}

// A damaged store is named, kept and brought up to date by the others; nothing that was committed is lost.
func TestFailure_damagedStore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"cut off", func(b []byte) []byte { return b[:20000] }},
		{"empty", func([]byte) []byte { return nil }},
		{"newest meta page", func(b []byte) []byte { b[le.Uint64(b[boltHeader+48:])%2*4096+boltHeader+20] ^= 1; return b }},
		{"zeros", func(b []byte) []byte { clear(b[8192:]); return b }},
		// In every page that has it: pages that are free now have it too, and whichever comes last in the file may be one of these.
		{"one entry", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"epoch":5,`), []byte(`"epoch":4,`)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestPair(t)
			a, b, w := p.startAll()
			for i := range 5 {
				a.propose(t, roleEntry(supervisor.Epoch(i+1), "a"))
			}
			p.agree(5, a, b, w)
			b.stop()
			path := filepath.Join(p.state("b"), diskFile)
			content := must(os.ReadFile(path))(t)
			damaged := tt.damage(content)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			b = p.start("b")
			p.synced(b)
			p.agree(5, b)
			kept := must(filepath.Glob(path + ".corrupt-*"))(t)
			if len(kept) != 1 {
				t.Fatalf("kept %v, want one file", kept)
			}
			if got := must(os.ReadFile(kept[0]))(t); !bytes.Equal(got, damaged) {
				t.Error("the damaged store was changed")
			}
			if !b.says("state set aside", filepath.Base(kept[0])) {
				t.Error("the log doesn't name it")
			}
			if got := b.Status().Phase; got != "ready" {
				t.Errorf("phase is %s", got)
			}
		})
	}
}

// If every store is damaged, nothing is begun anew: the nodes say what an operator can do.
func TestFailure_allStoresDamaged(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.propose(t, roleEntry(1, "a"))
	nodes := []*testNode{a, b, w}
	for i, n := range nodes {
		n.stop()
		if err := os.Truncate(filepath.Join(p.state(n.id), diskFile), 5000); err != nil {
			t.Fatal(err)
		}
		nodes[i] = nil
	}
	for i, id := range []nodeID{"a", "b", "w"} {
		nodes[i] = p.start(id)
	}
	for _, n := range nodes {
		eventually(t, "it says so", func() bool { return strings.Contains(n.Status().Waiting, "no node has the record any more") })
		eventually(t, "the log says so", func() bool { return n.says("waiting for the other nodes", "no node has the record") })
	}
}
