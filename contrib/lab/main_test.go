package lab

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	inside, code, err := Isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need network namespaces:", err)
	}
	switch {
	case inside && os.Getenv(nestedVar) != "":
		code = nestedLab()
	case inside:
		code = m.Run()
	}
	os.Exit(code)
}

// newLab starts a lab without sidecars. One after the other: they share the program's folder.
func newLab(t *testing.T, kind ServerKind) *Lab {
	t.Helper()
	l, err := New(Options{Server: kind})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func timeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
