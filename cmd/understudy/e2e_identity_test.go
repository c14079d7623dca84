package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// A node with the wrong papers is refused, by itself where it can know, else by the others; what is wrong is said, and the others go on.
func TestIdentity(t *testing.T) {
	p := newRig(t)
	pki, other, foreign := filepath.Join(p.dir, "pki"), filepath.Join(p.dir, "other"), filepath.Join(p.dir, "foreign")
	p.must(p.issue(other, "lab", "a", "b"))
	p.must(p.issue(foreign, "elsewhere", "a", "b"))
	all := func(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }
	for _, c := range []struct {
		name   string
		papers func(n string)      // makes other papers for node n
		edit   func(string) string // changes its configuration
		says   string              // in its own log: it ends
		others string              // in the primary's log: it runs, and is refused
	}{
		{name: "certificate of another CA", edit: all("/pki/{node}.", "/other/{node}."), says: "was not signed by this node's CA"},
		{name: "another CA", edit: all(pki, other), others: "was not signed by this node's CA"},
		{name: "key of another certificate", edit: all("/pki/{node}.crt", "/other/{node}.crt"), says: "private key does not match"},
		{name: "certificate of a witness", says: "is a witness's, the configuration has",
			papers: func(n string) {
				p.must(os.Rename(p.config(n), p.config(n)+".kept")) // else pki finds out
				defer func() { p.must(os.Rename(p.config(n)+".kept", p.config(n))) }()
				p.run("a", p.program, "pki", "issue", "--dir", pki, "--force", "--witness", n)
			}},
		{name: "expired", says: "expired on", papers: func(n string) {
			p.run("a", p.program, "pki", "issue", "--dir", pki, "--force", "--valid", "1s", n)
			time.Sleep(1100 * time.Millisecond)
		}},
		{name: "certificate of another node", edit: all("/pki/{node}.", "/pki/w."), says: "this node's own certificate understudy://lab/witness/w"},
		{name: "no certificate", edit: all("/pki/{node}.", "/pki/nobody."), says: "no such file"},
		{name: "wrong cluster name", edit: all("cluster: lab", "cluster: lob"), says: `belongs to cluster "lab", the configuration says "lob"`},
		{name: "another cluster", edit: all("cluster: lab", "cluster: elsewhere", pki, foreign, "/{node}\n", "/{node}.elsewhere\n"),
			others: "was not signed by this node's CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			primary := p.primary()
			n := lab.Peer(primary)
			p.kill(n)
			for _, m := range allNodes() {
				p.read[m] += int64(len(p.log(m)))
			}
			if c.papers != nil {
				c.papers(n)
			}
			p.must(p.configure(n, c.edit))
			at := lab.Now()
			p.restart(n)
			if c.says != "" {
				if code := p.code(n); code != exitFailed {
					t.Errorf("exit code %d", code)
				}
				p.untilLog(n, c.says)
			} else {
				p.untilLog(primary, c.others)
				p.untilLog(n, "peer not reached")
				p.kill(n)
			}
			p.untilStatus(primary, n+" has been silent for")
			p.stayed(at, primary)
			p.must(p.configure(n, nil))
			p.run("a", p.program, "pki", "issue", "--dir", pki, "--force", n)
			p.restart(n)
			p.healthy()
		})
	}
	p.t = t
}

// A certificate that expires while its node runs: the others say so, and a new one is used without a restart.
func TestIdentity_renewed(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	n := lab.Peer(primary)
	pki := filepath.Join(p.dir, "pki")
	p.kill(n)
	p.run("a", p.program, "pki", "issue", "--dir", pki, "--force", "--valid", "6s", n)
	p.restart(n)
	p.healthy()
	at := lab.Now()
	time.Sleep(6 * time.Second)
	p.must(p.lab.SetCuts(append(lab.Between(n, primary), lab.Between(n, lab.Witness)...)...)) // so that they have to meet anew
	p.untilStatus(primary, n+" has been silent for")
	p.must(p.lab.SetCuts())
	p.untilLog(primary, "expired on")
	p.run("a", p.program, "pki", "issue", "--dir", pki, "--force", n)
	p.healthy()
	p.stayed(at, primary)
}

// A second process with the name of a member, on another host: it is refused, the message names both addresses, and the first one does not
// notice.
func TestIdentity_twins(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	n := lab.Peer(primary)
	twin := filepath.Join(p.dir, "twin.yaml")
	text, err := os.ReadFile(p.config(n))
	p.must(err)
	// The twin runs on the witness's host, with that host's address as its own.
	edited := strings.Replace(string(text), lab.Addr(n, lab.Management).String()+":7946", lab.Addr(lab.Witness, lab.Management).String()+":7947", 1)
	edited = strings.ReplaceAll(edited, p.dir+"/{node}", p.dir+"/twin")
	p.must(os.WriteFile(twin, []byte(edited), 0o600))
	at := lab.Now()
	p.read[lab.Witness] += int64(len(p.log(lab.Witness)))
	proc, err := p.start(lab.Witness, n, twin)
	p.must(err)
	line := p.untilLog(lab.Witness, "two nodes are named")
	for _, want := range []string{lab.Addr(n, lab.Management).String(), lab.Addr(lab.Witness, lab.Management).String()} {
		if !strings.Contains(line, want) {
			t.Errorf("the line does not name %s", want)
		}
	}
	p.must(p.Healthy())
	p.must(proc.Kill())
	p.healthy()
	p.stayed(at, primary)
	p.must(p.Switchover(n))
}
