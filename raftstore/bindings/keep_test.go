package bindings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// machine is the time of a test's machine.
type machine struct {
	now  time.Duration
	wall time.Time
	boot string
}

func (m *machine) clock() Clock {
	return Clock{Now: func() time.Duration { return m.now }, Wall: func() time.Time { return m.wall }, Boot: m.boot}
}

func (m *machine) pass(d time.Duration) { m.now, m.wall = m.now+d, m.wall.Add(d) }

// reboot starts the machine again after a while.
func (m *machine) reboot(after time.Duration) {
	m.now, m.wall, m.boot = time.Minute, m.wall.Add(after), m.boot+"'"
}

func newMachine() *machine {
	return &machine{now: 1000 * time.Hour, wall: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), boot: "boot"}
}

func openIn(t *testing.T, dir string, m *machine) (*Store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	s, err := Open(Options{Dir: dir, Logger: zap.New(core), Clock: m.clock()})
	if err != nil {
		t.Fatal(err)
	}
	s.SetRole(3, true)
	return s, logs
}

func fill(t testing.TB, s *Store, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		b := testBinding("sip:phone@192.0.2.1", 1, s.o.Clock.Now()+time.Hour)
		if err := s.Set(fmt.Sprintf("u%d@example.net", i), []location.Binding{b}, Cause{}); err != nil {
			t.Fatal(err)
		}
	}
}

// end writes what is left, as the end of Run does.
func end(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.keepFiles(ctx)
}

func TestStore_keeps(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s, _ := openIn(t, dir, m)
	fill(t, s, 0, 100)
	if err := s.Set("u7@example.net", nil, Cause{}); err != nil {
		t.Fatal(err)
	}
	before := s.Get("u8@example.net")
	end(s)
	for _, tt := range []struct {
		name   string
		change func()
		left   time.Duration // until expiry
	}{
		{"at once", func() {}, time.Hour},
		{"a while later", func() { m.pass(10 * time.Minute) }, 50 * time.Minute},
		{"the time of day is set", func() { m.wall = m.wall.Add(-24 * time.Hour) }, 50 * time.Minute},
		{"the machine was off", func() { m.wall = m.wall.Add(24 * time.Hour); m.reboot(20 * time.Minute) }, 30 * time.Minute},
		{"the time of day is earlier after a start", func() { m.reboot(-time.Hour) }, time.Hour}, // never longer than when it was written
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change()
			s, _ := openIn(t, dir, m)
			if got := s.Status().Records; got != 99 {
				t.Fatalf("%d records", got)
			}
			got := s.Get("u8@example.net")
			if left := got.Bindings[0].Expires - m.now; (left - tt.left).Abs() > 2*time.Second {
				t.Errorf("expires after %v, want %v", left, tt.left)
			}
			got.Bindings[0].Expires = before.Bindings[0].Expires
			if got.Version != before.Version || got.Bindings[0] != before.Bindings[0] {
				t.Errorf("got %+v, want %+v", got, before)
			}
			end(s)
		})
	}
}

// What the end of the machine or a bad disk leaves of the files never stops a member, and is named.
func TestStore_damagedFiles(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
		least  int  // records that are left at least
		aside  bool // the file is set aside
	}{
		{"cut off in the last write", func(b []byte) []byte { return b[:len(b)-7] }, 99, false},
		{"cut off in the head", func(b []byte) []byte { return b[:10] }, 0, false},
		{"empty", func([]byte) []byte { return nil }, 0, false},
		{"a bit in the middle", func(b []byte) []byte { b[len(b)/2] ^= 4; return b }, 40, false},
		{"a bit far from the end", func(b []byte) []byte { b[len(fileHead)+200] ^= 4; return append(b, make([]byte, maxKept)...) }, 0, true},
		{"something else", func([]byte) []byte { return make([]byte, 100_000) }, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, m := t.TempDir(), newMachine()
			s, _ := openIn(t, dir, m)
			fill(t, s, 0, 100)
			end(s)
			path := filepath.Join(dir, "registrations-1.log")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.damage(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s, logs := openIn(t, dir, m)
			if got := s.Status().Records; got < tt.least || got > 100 {
				t.Errorf("%d records are left, want at least %d", got, tt.least)
			}
			if s.Status().Whole {
				t.Error("takes itself for whole")
			}
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if (len(aside) == 1) != tt.aside || (logs.FilterMessageSnippet("set aside").Len() == 1) != tt.aside {
				t.Errorf("set aside: %v, logged: %v", aside, logs.All())
			}
			fill(t, s, 100, 200)
			end(s)
			left := s.Status().Records
			if s, _ := openIn(t, dir, m); s.Status().Records != left {
				t.Errorf("%d records, %d after another start", left, s.Status().Records)
			}
		})
	}
}

// Logs end up in snapshots; a member that ends at any moment of that loses nothing.
func TestStore_compacts(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s, _ := openIn(t, dir, m)
	fill(t, s, 0, 3000)
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	if err := s.compact(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3000, 3100)
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	names := func() (all []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	if got := fmt.Sprint(names()); got != "[registrations-2.log registrations-2.snapshot]" {
		t.Errorf("files: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "registrations-3.snapshot.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = openIn(t, dir, m)
	if got := s.Status().Records; got != 3100 {
		t.Errorf("%d records", got)
	}
	snapshot := filepath.Join(dir, "registrations-2.snapshot")
	content, _ := os.ReadFile(snapshot)
	if err := os.WriteFile(snapshot, content[:len(content)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s, logs := openIn(t, dir, m)
	if got := s.Status().Records; got < 1500 || got >= 3100 {
		t.Errorf("%d records of a damaged snapshot", got)
	}
	if logs.FilterMessageSnippet("set aside").Len() != 1 || s.hello().have[0] != 0 {
		t.Errorf("have %v; logged %v", s.hello().have, logs.All())
	}
}

// A full disk costs nothing but the copy on it.
func TestStore_diskFull(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s, _ := openIn(t, dir, m)
	fill(t, s, 0, 10)
	if err := s.files.file.Close(); err != nil { // writes fail from now on
		t.Fatal(err)
	}
	for range 2 {
		s.noteDisk(s.save())
	}
	if s.Status().DiskErr == nil || s.Status().Records != 10 {
		t.Errorf("status: %+v", s.Status())
	}
	if err := s.files.begin(s.meta()); err != nil {
		t.Fatal(err)
	}
	s.noteDisk(s.save())
	if s.Status().DiskErr != nil {
		t.Errorf("still says %v", s.Status().DiskErr)
	}
	if s, _ := openIn(t, dir, m); s.Status().Records != 10 {
		t.Errorf("%d records", s.Status().Records)
	}
}

// A phone that changes its Contact all the time while the peer is away costs neither the disk's copy nor the stream.
func TestStore_restlessPhone(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s, _ := openIn(t, dir, m)
	for i := range 3 * MaxBindings {
		b := testBinding(fmt.Sprintf("sip:%d%s@192.0.2.1", i, strings.Repeat("x", 1000)), 1, m.now+time.Hour)
		if err := s.Set("a@example.net", []location.Binding{b}, Cause{}); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, s, 0, 10)
	end(s)
	if s, logs := openIn(t, dir, m); s.Status().Records != 11 {
		t.Errorf("%d records: %v", s.Status().Records, logs.All())
	}
}

// Logs do not pile up with starts.
func TestStore_manyStarts(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	for i := range 5 * mostLogs {
		s, logs := openIn(t, dir, m)
		fill(t, s, i, i+1)
		if err := s.save(); err != nil {
			t.Fatal(err)
		}
		if s.files.worth() {
			if err := s.compact(); err != nil {
				t.Fatal(err)
			}
		}
		if f, err := os.OpenFile(s.files.file.Name(), os.O_APPEND|os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		} else if _, err := f.Write([]byte("torn")); err != nil { // as the end of the machine leaves it
			t.Fatal(err)
		} else if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if n := s.Status().Records; n != i+1 || logs.FilterMessageSnippet("damaged").Len() > 0 {
			t.Fatalf("start %d: %d records, %v", i, n, logs.All())
		}
	}
	if all, _ := filepath.Glob(dir + "/*.log"); len(all) > mostLogs+2 {
		t.Errorf("%d logs", len(all))
	}
}

// When no new log can be begun, the old one goes on.
func TestStore_noNewLog(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s, _ := openIn(t, dir, m)
	fill(t, s, 0, 10)
	if err := os.Mkdir(s.files.path(logName, s.files.number+1), 0o700); err != nil { // in its place
		t.Fatal(err)
	}
	if err := s.compact(); err == nil {
		t.Error("compacted")
	}
	if err := errors.Join(s.save(), os.Remove(s.files.path(logName, s.files.number+1))); err != nil {
		t.Fatal(err)
	}
	if s, _ := openIn(t, dir, m); s.Status().Records != 10 {
		t.Errorf("%d records", s.Status().Records)
	}
}
