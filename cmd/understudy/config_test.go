package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-sip/understudy/supervisor"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// host is an identity that only the host name gives.
func host(name string) identity {
	return identity{hostname: func() (string, error) { return name, nil }}
}

const minimal = `version: 1
cluster: sip-edge
nodes:
  edge-a: {address: "10.0.0.11:7946", sip-address: 192.0.2.11, interface: eth1}
  edge-b: {address: "10.0.0.12:7946", sip-address: 192.0.2.12, interface: eth1}
  wit-1: {address: "10.0.9.5:7946", witness: true}
service-address: {addresses: [203.0.113.10]}
`

// Every problem of a bad file is reported, each once, with its line, key and a way out; nothing is half applied.
func TestLoad_badFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			setup, err := load(file, host("pbx"))
			var problems Problems
			if setup != nil || !errors.As(err, &problems) {
				t.Fatalf("got %+v, %v", setup, err)
			}
			var out strings.Builder
			problems.print(&out)
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", out.String())
		})
	}
}

// The minimal file gives the defaults, and the name of the node comes from flag, file and host name in that order.
func TestLoad_minimal(t *testing.T) {
	for _, c := range []struct {
		name, text string
		who        identity
		self       supervisor.NodeID
		from       string
	}{
		{"host name", minimal, host("edge-b"), "edge-b", "host name"},
		{"qualified host name", minimal, host("EDGE-B.example.net"), "edge-b", "host name"},
		{"file", minimal + "node: wit-1\n", host("edge-b"), "wit-1", "node:"},
		{"flag", minimal + "node: wit-1\n", identity{flag: "edge-a", hostname: host("edge-b").hostname}, "edge-a", "--node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := parseConfig("f.yaml", c.text, c.who)
			if err != nil {
				t.Fatal(err)
			}
			if s.Self != c.self || s.SelfFrom != c.from || s.Node != c.self {
				t.Errorf("got %s from %s", s.Self, s.SelfFrom)
			}
			if got, want := s.TLS.Key, "/etc/understudy/pki/"+string(c.self)+".key"; got != want {
				t.Errorf("key: got %s, want %s", got, want)
			}
			want := defaultConfig()
			got := s.written
			want.Version, want.Cluster, want.Nodes, want.Node = 1, "sip-edge", got.Nodes, got.Node
			want.ServiceAddress.Addresses = got.ServiceAddress.Addresses
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

// The hash is of what the file means: comments, order, spelling of values, defaults written out and node: don't change it, every
// value does.
func TestHash(t *testing.T) {
	of := func(text string) string {
		t.Helper()
		s, err := parseConfig("f.yaml", text, host("edge-a"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash
	}
	want := of(minimal)
	if got, fixed := want, "171cc46cc3c2"; got != fixed {
		t.Errorf("the hash of the minimal file is %s, was %s: nodes of different versions will say that they differ", got, fixed)
	}
	for name, text := range map[string]string{
		"node":     minimal + "node: edge-b\n",
		"comments": "# hello\n" + minimal,
		"defaults": minimal + "preset: default\nsip-server: {port: 5060}\nhooks: {timeout: 10, on-primary: []}\n",
		"spelling": strings.Replace(minimal, "203.0.113.10]", `"203.0.113.10/32"]`, 1),
	} {
		if got := of(text); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for name, text := range map[string]string{
		"value": minimal + "preset: fast\n",
		"list":  minimal + "hooks: {notify: [/bin/true]}\n",
		"split": minimal + "hooks: {notify: [/bin/true, /bin/true]}\n",
		"node":  strings.Replace(minimal, "10.0.9.5", "10.0.9.6", 1),
	} {
		if got := of(text); got == want {
			t.Errorf("%s: the hash did not change", name)
		}
	}
}

// What check --print writes reads back as the same configuration.
func TestPrint_readsBack(t *testing.T) {
	for _, text := range []string{minimal, minimal + `
hooks: {on-primary: [/usr/local/bin/hook, "--name={node}", "7", "true", "", "a: b", "#"]}
sip-server: {uri-user: "1000", process: kamailio}
node: wit-1
`} {
		s, err := parseConfig("f.yaml", text, host("edge-a"))
		if err != nil {
			t.Fatal(err)
		}
		printed, err := s.written.yaml()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig("g.yaml", printed, host("edge-a"))
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if !reflect.DeepEqual(s.written, again.written) || s.Hash != again.Hash {
			t.Errorf("got %+v\nwant %+v\n%s", again.written, s.written, printed)
		}
	}
}

const example = "../../contrib/etc/understudy.yaml"

// The example that people start from says what holds anyway: its values are the defaults, and it explains every key.
func TestExample(t *testing.T) {
	s, err := load(example, host("edge-a"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := s.written, defaultConfig()
	want.Version, want.Cluster, want.Nodes = got.Version, got.Cluster, got.Nodes
	want.ServiceAddress.Addresses = got.ServiceAddress.Addresses
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	raw, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range schema() {
		key := path[strings.LastIndex(path, ".")+1:]
		if !regexp.MustCompile(`(?m)(^|[\s{#])` + key + `:`).Match(raw) {
			t.Errorf("%s is not in the example", path)
		}
	}
}

// FuzzParse: whatever the file holds, the answer is a configuration or problems, never a crash.
func FuzzParse(f *testing.F) {
	f.Add(minimal)
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseConfig("f.yaml", text, host("edge-a"))
		if (s == nil) == (err == nil) {
			t.Errorf("got %v, %v", s, err)
		}
		if s == nil {
			return
		}
		if _, err := s.written.yaml(); err != nil {
			t.Error(err)
		}
	})
}
