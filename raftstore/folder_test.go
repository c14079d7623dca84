package raftstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

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
