package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The systemd unit and the program agree: on the command line, the folders, the exit codes and the longest time that a stop takes.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../contrib/systemd/understudy.service")
	if err != nil {
		t.Fatal(err)
	}
	c := defaultConfig()
	for _, want := range []string{
		"ExecStart=/usr/bin/understudy run --config " + defaultConfigPath,
		fmt.Sprintf("RestartPreventExitStatus=%d %d", exitUsage, exitConfig),
		"StateDirectory=" + filepath.Base(c.StateDir),
		"RuntimeDirectory=" + filepath.Base(filepath.Dir(c.API.Socket)),
		"Type=notify",
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("the unit does not say %s", want)
		}
	}
}
