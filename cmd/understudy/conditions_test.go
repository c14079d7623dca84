package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/raftstore"
	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
)

// A certificate that ends soon, or can't be read, raises an alarm that a new one ends; each late loop is told of.
func TestConditions_host(t *testing.T) {
	dir := t.TempDir()
	s := &Setup{Self: "a"}
	s.TLS = TLS{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "a.crt"), Key: filepath.Join(dir, "a.key")}
	issue := func(valid time.Duration) {
		t.Helper()
		ca, err := raftstore.NewCA("lab", 400*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := raftstore.Issue(ca, supervisor.Node{ID: "a"}, valid)
		if err != nil {
			t.Fatal(err)
		}
		for path, b := range map[string][]byte{s.TLS.CA: ca.Cert, s.TLS.Cert: pair.Cert, s.TLS.Key: pair.Key} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	c := conditions{setup: s, edges: newEdges(func(ev alarm.Event) { got = append(got, ev.Name+" "+ev.Object) })}
	now := time.Now()
	look := func(lates uint64, want ...string) {
		t.Helper()
		got = nil
		now = now.Add(certificateLook)
		if c.host(lates, now); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	look(0, "cert-expiring a") // there is none
	issue(90 * 24 * time.Hour)
	look(0, "cert-renewed a")
	look(2, "loop-late a")
	look(2)
	issue(20 * 24 * time.Hour)
	look(2, "cert-expiring a")
}
