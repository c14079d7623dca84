package main

import (
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// A node whose configuration differs takes part, and every node's status says so.
func TestConfig_differs(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	n := lab.Peer(primary)
	at := lab.Now()
	p.kill(n)
	p.must(p.configure(n, func(s string) string { return s + "on-quorum-loss: hold\n" }))
	p.restart(n)
	for _, m := range allNodes() {
		p.untilStatus(m, "The configuration of ")
	}
	p.stayed(at, primary)
	p.kill(n)
	p.must(p.configure(n, nil))
	p.restart(n)
	p.healthy()
}

// The majority is lost: with demote the address goes with the lease; with hold it stays, and status says what that means. Either
// way the pair is whole again when the others are back.
func TestQuorumLoss(t *testing.T) {
	for _, policy := range []string{"demote", "hold"} {
		t.Run(policy, func(t *testing.T) {
			p := newRig(t, func(p *rig) { p.extra = "on-quorum-loss: " + policy + "\n" })
			primary := p.primary()
			epoch := p.epoch(primary)
			at := lab.Now()
			p.kill(lab.Peer(primary), lab.Witness)
			if policy == "demote" {
				p.until("nobody holds the address", func() bool { return p.lab.Holders() == 0 })
				t.Logf("nobody holds the address %v after the others were killed", lab.Now()-at)
				p.untilStatus(primary, "The majority is lost")
			} else {
				p.untilStatus(primary, "two primaries are possible")
				time.Sleep(time.Second)
				p.stayed(at, primary)
			}
			out, err := p.cli(primary, "switchover")
			t.Logf("switchover: %v\n%s", err, out)
			if err == nil {
				t.Error("a switchover without a majority")
			}
			p.restart(lab.Peer(primary), lab.Witness)
			p.healthy()
			p.grown(primary, epoch)
			if policy == "hold" {
				p.stayed(at, primary)
			}
		})
	}
}
