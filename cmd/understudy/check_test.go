package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What check says about a right file: what it means, what applies, and what this host still lacks.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pki := "tls:\n  ca: " + dir + "/ca.crt\n  cert: \"" + dir + "/{node}.crt\"\n  key: \"" + dir + "/{node}.key\"\n"
	good := write("good.yaml", strings.ReplaceAll(minimal, "eth1", "lo")+pki)
	scripts := write("scripts.yaml", strings.Replace(strings.ReplaceAll(minimal, "eth1", "nosuch0"), "{addresses: [203.0.113.10]}",
		"{addresses: [203.0.113.10], control-vip-scripts: true, up-script: [/nowhere/up], down-script: [/bin/true]}", 1)+pki+
		"preset: wan\non-quorum-loss: hold\nhooks: {notify: [/etc/passwd]}\nsip-server: {process: kamailio, transport: tcp}\n")
	bad := write("bad.yaml", minimal+"presett: fast\n")
	replace := strings.NewReplacer(dir, "DIR")
	text := script(t, replace,
		[]string{"check", "-c", good}, []string{"check", "-c", good, "--node", "wit-1"}, []string{"check", "-c", good, "--node", "edge-x"},
		[]string{"check", "-c", scripts}, []string{"check", "-c", bad}, []string{"check", "-c", dir + "/none.yaml"},
		[]string{"check", "-c", scripts, "--print"}, []string{"check", "-c", dir})
	// The paths in the file change from run to run, and the hash with them.
	golden(t, "testdata/check.txt", regexp.MustCompile(`configuration [0-9a-f]{12}`).ReplaceAllString(text, "configuration HASH"))
}

// A folder, a device or a huge file instead of a configuration ends in a sentence, soon.
func TestCheck_strangeFiles(t *testing.T) {
	huge := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(huge, make([]byte, maxConfig+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{huge, "/dev/zero", "/dev/null", "/proc/self/mem"} {
		if r := cli(t, "check", "-c", path); r.code != 1 || r.stderr == "" {
			t.Errorf("%s: got %+v", path, r)
		}
	}
}
