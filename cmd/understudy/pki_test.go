package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/raftstore"
)

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is not PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// The certificates of a pair: signed by its CA, each with its node's name and kind, keys for the owner's eyes only.
func TestPKI(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(config, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(dir, "pki")
	golden(t, "testdata/pki.txt", script(t, strings.NewReplacer(dir, "DIR"),
		[]string{"pki", "issue", "--dir", pki, "edge-a", "-c", config},
		[]string{"pki", "init", "--dir", pki, "-c", config},
		[]string{"pki", "init", "--dir", pki, "-c", config},
		[]string{"pki", "issue", "--dir", pki, "--all", "-c", config},
		[]string{"pki", "issue", "--dir", pki, "edge-a", "-c", config},
		[]string{"pki", "issue", "--dir", pki, "edge-x", "-c", config},
		[]string{"pki", "issue", "--dir", pki, "edge-a", "--witness", "-c", config},
		[]string{"pki", "issue", "--dir", pki, "../x", "-c", config},
		[]string{"pki", "issue", "--dir", pki, "edge-a", "--force", "--valid", "720h", "-c", config}))
	roots := x509.NewCertPool()
	roots.AddCert(readCert(t, pki+"/ca.crt"))
	for name, want := range map[string]string{"edge-a": "understudy://sip-edge/member/edge-a", "wit-1": "understudy://sip-edge/witness/wit-1"} {
		cert := readCert(t, pki+"/"+name+".crt")
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if id, err := raftstore.Identify(cert); err != nil || id.String() != want {
			t.Errorf("%s: got %s, %v, want %s", name, id, err, want)
		}
	}
	if got := time.Until(readCert(t, pki+"/edge-a.crt").NotAfter); got > 721*time.Hour || got < 719*time.Hour {
		t.Errorf("valid for %v", got)
	}
	for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "ca.key": 0o600, "edge-a.key": 0o600, "ca.crt": 0o644, "wit-1.crt": 0o644} {
		info, err := os.Stat(filepath.Join(pki, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(pki + "/*.new"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Without a configuration, flags say what it would.
func TestPKI_noConfiguration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	for _, c := range []struct {
		want int
		args []string
	}{
		{exitUsage, []string{"pki", "init", "--dir", dir}},
		{0, []string{"pki", "init", "--dir", dir, "--cluster", "sip-edge"}},
		{exitUsage, []string{"pki", "issue", "--dir", dir, "--all"}},
		{0, []string{"pki", "issue", "--dir", dir, "edge-a", "edge-b"}},
		{0, []string{"pki", "issue", "--dir", dir, "--witness", "wit-1"}},
		{1, []string{"pki", "issue", "--dir", dir, "a/b"}},
		{1, []string{"pki", "init", "--dir", filepath.Join(dir, "x"), "--cluster", "a b"}},
	} {
		if r := cli(t, c.args...); r.code != c.want {
			t.Errorf("%v: got %+v, want code %d", c.args, r, c.want)
		}
	}
	if id, err := raftstore.Identify(readCert(t, dir+"/wit-1.crt")); err != nil || id.Kind != "witness" {
		t.Errorf("got %+v, %v", id, err)
	}
}
