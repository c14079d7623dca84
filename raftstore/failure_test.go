package raftstore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	p := newTestPair(t)
	small := p.state("a")
	if err := os.MkdirAll(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatalf("a small file system is needed, as root or under 'unshare -Urm': %v", err)
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
		{"one entry", func(b []byte) []byte { i := bytes.LastIndex(b, []byte(`"reason":"test"`)); b[i+11] = 'r'; return b }},
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
		if !n.says("waiting for the other nodes", "no node has the record") {
			t.Error("the log doesn't say so")
		}
	}
}

// Somebody else's folder, a folder in use and a read-only one are refused with words.
func TestFolder_refused(t *testing.T) {
	p := newTestPair(t)
	a := p.start("a")
	_, err := p.try("a", func(o *Options) { o.Listen = freeAddr(t) })
	if err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("in use: got %v", err)
	}
	a.stop()
	rename := func(o *Options) {
		p.withIdentity(t, o, must(NewCA("prod", time.Hour))(t), supervisor.Node{ID: "a"})
		o.Cluster = "prod"
	}
	if _, err = p.try("a", rename); err == nil || !strings.Contains(err.Error(), `belongs to cluster "test"`) {
		t.Errorf("other cluster: got %v", err)
	}
	if _, err = p.try("b", func(o *Options) { o.Dir = p.state("a") }); err == nil || !strings.Contains(err.Error(), `belongs to node "a"`) {
		t.Errorf("other node: got %v", err)
	}
	others := func(o *Options) {
		o.Nodes = append([]Node{}, p.nodes...)
		o.Nodes[2].ID = "x"
	}
	if _, err = p.try("a", others); err == nil || !strings.Contains(err.Error(), "a machine that replaces another takes over its node name") {
		t.Errorf("other nodes: got %v", err)
	}
	if info := must(os.Stat(p.state("a")))(t); info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	for _, e := range must(os.ReadDir(p.state("a")))(t) {
		if info := must(e.Info())(t); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = p.try("a", func(o *Options) { o.Dir = filepath.Join(file, "state") }); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: got %v", err)
	}
}

// A folder without its node.json, or with a damaged one, is not trusted.
func TestFolder_identityLost(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"missing":     os.Remove,
		"cut off":     func(path string) error { return os.Truncate(path, 10) },
		"of length 0": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPair(t)
			a, b, w := p.startAll()
			a.propose(t, roleEntry(1, "a"))
			p.agree(1, a, b, w)
			b.stop()
			if err := damage(filepath.Join(p.state("b"), identityFile)); err != nil {
				t.Fatal(err)
			}
			b = p.start("b")
			p.synced(b)
			p.agree(1, b)
			if kept := must(filepath.Glob(filepath.Join(p.state("b"), diskFile+".corrupt-*")))(t); len(kept) != 1 {
				t.Errorf("kept %v", kept)
			}
		})
	}
}

// killedEnv makes the test binary a writer that is to be killed.
const killedEnv = "RAFTSTORE_KILLED_WRITER"

// TestMain runs the writer of TestDisk_killedAnywhere in the processes that it starts.
func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// writeUntilKilled appends entries and, before each, notes in a second file how many are durable.
func writeUntilKilled(path string) {
	d, err := openDisk(path)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	note, err := os.OpenFile(path+".durable", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		os.Exit(1)
	}
	t := &fatal{}
	for i := d.lastIndex() + 1; ; i++ {
		fill(t, d, i, i)
		_ = d.SetUint64([]byte(keyTerm), i)
		_, _ = note.Write([]byte{1})
		if i%20 == 0 {
			saveSnapshot(t, d, i-5, strings.Repeat("x", int(i%3000)))
			_ = d.DeleteRange(1, i-10)
		}
	}
}

// fatal ends the writer.
type fatal struct{ testing.TB }

func (*fatal) Helper()      {}
func (*fatal) Fatal(...any) { os.Exit(1) }

// A process that is killed -9 at any moment leaves a store that opens with everything that was durable.
func TestDisk_killedAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), diskFile)
	random := rand.New(rand.NewPCG(3, 4))
	for range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Millisecond + time.Duration(random.IntN(40_000))*time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		d, err := openDisk(path)
		if err != nil {
			t.Fatal(err)
		}
		durable, _ := os.Stat(path + ".durable")
		if durable != nil && (d.lastIndex() < uint64(durable.Size()) || d.lastIndex() > uint64(durable.Size())+1) {
			t.Fatalf("last entry is %d, %d were durable", d.lastIndex(), durable.Size())
		}
		if durable != nil {
			// a kill between an append and its note leaves one entry more than notes
			if err := os.Truncate(path+".durable", int64(d.lastIndex())); err != nil {
				t.Fatal(err)
			}
		}
		d.close()
	}
	if info, err := os.Stat(path + ".durable"); err != nil || info.Size() < 25 {
		t.Errorf("the writers wrote nothing: %v", err)
	}
}
