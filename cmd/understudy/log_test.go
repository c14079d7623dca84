package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// JSON lines parse; the level holds; nothing is sampled.
func TestNewLogger(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(Log{Level: "warn", Format: "json"}, &out).Named("vip")
	log.Info("not written")
	for range 500 {
		log.Warn("address missing", zap.Uint64("epoch", 42), zap.Error(errors.New("gone")))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 500 {
		t.Fatalf("got %d lines, want 500", len(lines))
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"level": "warn", "logger": "vip", "msg": "address missing", "epoch": 42.0, "error": "gone"} {
		if line[key] != want {
			t.Errorf("%s: got %v, want %v", key, line[key], want)
		}
	}
	out.Reset()
	newLogger(Log{Level: "info", Format: "console"}, &out).Info("hello", zap.String("node", "edge-a"))
	if got := out.String(); !strings.Contains(got, "\tinfo\thello\t{\"node\": \"edge-a\"}\n") {
		t.Errorf("got %q", got)
	}
}
