package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/understudy-sip/understudy/supervisor"
)

var voterType = reflect.TypeFor[Voter]()

// maxConfig bounds the file: what is longer is not a configuration.
const maxConfig = 1 << 20

// Setup is the configuration as one node applies it.
type Setup struct {
	Config                     // with {node} replaced in every path
	Path     string            // of the file
	Self     supervisor.NodeID // this node
	SelfFrom string            // where its name came from: "--node", "node:", "host name"
	Hash     string            // of what all nodes must agree on: 12 hexadecimal digits
	Timing   supervisor.Timing // of the preset
	written  Config            // as the file has it, with the defaults
}

// Me is this node's entry.
func (s *Setup) Me() Voter { return s.Nodes[s.Self] }

// Voters lists the nodes in the order of names.
func (s *Setup) Voters() []supervisor.Node {
	var voters []supervisor.Node
	for _, name := range s.names() {
		voters = append(voters, supervisor.Node{ID: name, Witness: s.Nodes[name].Witness})
	}
	return voters
}

// identity is what tells a process which node it is, the strongest first: the flag, the file, the host. The zero identity asks for the
// configuration without being one of its nodes.
type identity struct {
	flag     string
	hostname func() (string, error)
}

// load reads a configuration. Its error is Problems if the file could be read.
func load(path string, who identity) (*Setup, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	return parseConfig(path, text, who)
}

func readConfig(path string) (string, error) {
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", Problems{{File: path, What: "there is no such file", Todo: "name another with --config; contrib/etc/understudy.yaml is a template"}}
	case errors.Is(err, fs.ErrPermission):
		return "", Problems{{File: path, What: "you may not read it", Todo: "become root or a member of its group"}}
	case err != nil:
		return "", fmt.Errorf("open the configuration: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	if len(text) > maxConfig {
		return "", Problems{{File: path, What: "it is longer than 1 MiB", Todo: "this is not a configuration of understudy"}}
	}
	return string(text), nil
}

// parseConfig decodes and judges a configuration, all of it.
func parseConfig(path, text string, who identity) (*Setup, error) {
	d := newDecoder(path)
	c := defaultConfig()
	root := d.document(text)
	if root == nil {
		return nil, d.problems
	}
	d.value(root, "", reflect.ValueOf(&c).Elem(), "")
	d.check(&c)
	s := &Setup{Path: path, written: c}
	d.checkSelf(s, who)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	timing, err := c.Preset.Timing()
	if err != nil {
		return nil, err
	}
	s.Hash, s.Timing = c.hash(), timing
	s.Config = c.resolved(s.Self)
	s.Config.Node = s.Self
	return s, nil
}

// checkSelf finds out which node this is.
func (d *decoder) checkSelf(s *Setup, who identity) {
	if !d.fine("node") || len(s.written.Nodes) == 0 || who.hostname == nil {
		return
	}
	list := strings.Join(toStrings(s.written.names()), ", ")
	switch {
	case who.flag != "":
		s.Self, s.SelfFrom = supervisor.NodeID(who.flag), "--node"
		if _, known := s.written.Nodes[s.Self]; !known && d.knowsNodes() {
			d.problems = append(d.problems, Problem{File: d.file, Key: "--node", What: fmt.Sprintf("there is no %q under nodes", who.flag), Todo: "choose one of " + list})
		}
	case s.written.Node != "":
		s.Self, s.SelfFrom = s.written.Node, "node:"
		if _, known := s.written.Nodes[s.Self]; !known && d.knowsNodes() {
			d.problem("node", "choose one of "+list, "there is no %q under nodes", s.Self)
		}
	default:
		host, err := who.hostname()
		short, _, _ := strings.Cut(strings.ToLower(host), ".")
		s.Self, s.SelfFrom = supervisor.NodeID(short), "host name"
		if _, known := s.written.Nodes[s.Self]; err != nil || !known && d.knowsNodes() {
			d.problems = append(d.problems, Problem{File: d.file, Key: "node", What: fmt.Sprintf("which node is this? There is no host name %q under nodes", short),
				Todo: "say --node, or write node: with one of " + list})
		}
	}
}

// knowsNodes reports whether every entry under nodes was read, so that a name that is missing is really not there.
func (d *decoder) knowsNodes() bool {
	for path := range d.bad {
		if path == "nodes" && d.lines["nodes"] == 0 || parent(path) == "nodes" {
			return false
		}
	}
	return true
}

// resolved gives the configuration with {node} replaced.
func (c Config) resolved(self supervisor.NodeID) Config {
	argv := func(in []string) []string { return argvForNode(in, self) }
	c.StateDir, c.API.Socket = forNode(c.StateDir, self), forNode(c.API.Socket, self)
	c.Contacts = c.Contacts.resolved(func(path string) string { return forNode(path, self) }, argv)
	c.TLS = TLS{CA: forNode(c.TLS.CA, self), Cert: forNode(c.TLS.Cert, self), Key: forNode(c.TLS.Key, self)}
	s, h := &c.ServiceAddress, &c.Hooks
	s.UpScript, s.DownScript = argv(s.UpScript), argv(s.DownScript)
	h.OnPrimary, h.OnBackup, h.Notify = argv(h.OnPrimary), argv(h.OnBackup), argv(h.Notify)
	return c
}

func toStrings(names []supervisor.NodeID) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}
