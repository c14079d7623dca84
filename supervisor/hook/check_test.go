package hook

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever can change a hook is root wherever understudy is: only root and our own user may.
func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, dir, hook string) string // gives the path to check
		want string                                      // part of the error; "" for none
	}{
		{"good", func(_ *testing.T, _, hook string) string { return hook }, ""},
		{"good link", func(t *testing.T, dir, hook string) string {
			return link(t, hook, filepath.Join(dir, "link"))
		}, ""},
		{"relative", func(*testing.T, string, string) string { return "hook" }, "absolute path"},
		{"missing", func(_ *testing.T, dir, _ string) string { return filepath.Join(dir, "none") }, "no such file"},
		{"folder", func(_ *testing.T, dir, _ string) string { return dir }, "no regular file"},
		{"not executable", func(t *testing.T, _, hook string) string { return chmod(t, hook, 0o600) }, "chmod +x"},
		{"world writable", func(t *testing.T, _, hook string) string { return chmod(t, hook, 0o757) }, "chmod go-w"},
		{"group writable", func(t *testing.T, _, hook string) string { return chmod(t, hook, 0o775) }, "chmod go-w"},
		{"folder world writable", func(t *testing.T, dir, hook string) string {
			chmod(t, dir, 0o777)
			return hook
		}, "its folder"},
		{"link in a writable folder", func(t *testing.T, dir, hook string) string {
			open := filepath.Join(t.TempDir(), "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				t.Fatal(err)
			}
			chmod(t, open, 0o777)
			return link(t, hook, filepath.Join(open, "link"))
		}, "its folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			hook := filepath.Join(dir, "hook")
			if err := os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			path := tt.make(t, dir, hook)
			got := Check(path)
			switch {
			case tt.want == "" && got != nil:
				t.Errorf("got %v, want none", got)
			case tt.want != "" && (!errors.Is(got, ErrUnsafe) || !strings.Contains(got.Error(), tt.want)):
				t.Errorf("got %v, want ErrUnsafe with %q", got, tt.want)
			}
			if r := Run(t.Context(), Command{Argv: []string{path}}); (r.Err == nil) != (tt.want == "") {
				t.Errorf("Run: got %v", r.Err)
			}
		})
	}
}

func TestCheck_owner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away: nothing to check")
		return
	}
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(hook, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := Check(hook); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("got %v", err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, from, to string) string {
	t.Helper()
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
	return to
}
