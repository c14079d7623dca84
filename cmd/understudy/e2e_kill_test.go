package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor"
)

// grown checks that a node's epoch never went back, and returns it.
func (p *rig) grown(node string, before supervisor.Epoch) supervisor.Epoch {
	p.t.Helper()
	now := p.epoch(node)
	p.t.Logf("epoch %d after %d at %s", now, before, node)
	if now < before {
		p.t.Errorf("epoch %d after %d at %s", now, before, node)
	}
	return now
}

// Each node in turn is killed with SIGKILL and started again: role and epoch survive, and the service comes back.
func TestKill_eachNode(t *testing.T) {
	p := newRig(t)
	epoch := p.epoch("w")
	for _, n := range allNodes() {
		primary := p.primary()
		at := lab.Now()
		p.kill(n)
		time.Sleep(500 * time.Millisecond)
		p.restart(n)
		p.healthy()
		o := p.outage(at)
		t.Logf("%s killed, %s was primary: served by %v, outage %v", n, primary, o.Servers, o.Longest)
		if away(o) {
			t.Errorf("the service was away for %v", o.Longest)
		}
		if n != primary && (len(o.Servers) != 1 || o.Servers[0] != primary) {
			t.Errorf("%s was not primary, but the role moved: %v", n, o.Servers)
		}
		epoch = p.grown(n, epoch)
	}
}

// The primary is killed and started again so soon that its address is still up, while the other member takes over: it never answers for it
// a second time.
func TestKill_restartedAtOnce(t *testing.T) {
	p := newRig(t)
	epoch := p.epoch("w")
	for _, pause := range []time.Duration{0, 50, 100, 150, 160, 180, 200, 250, 300, 500} {
		primary := p.primary()
		p.kill(primary)
		time.Sleep(pause * time.Millisecond)
		p.restart(primary)
		p.healthy()
		epoch = p.grown("w", epoch)
	}
}

// All three nodes are killed at once and started again, three times: the record is as old as the newest of them knew it, never older.
func TestKill_allAtOnce(t *testing.T) {
	p := newRig(t)
	p.must(p.Switchover(lab.Peer(p.primary()))) // so that there is a past
	p.healthy()
	epoch := p.epoch("w")
	for range 3 {
		p.kill(allNodes()...)
		p.until("nobody holds the address", func() bool { return p.lab.Holders() == 0 })
		p.restart(allNodes()...)
		p.healthy()
		epoch = p.grown("w", epoch)
	}
	for _, n := range allNodes() {
		if h := p.history(n); len(h) < 2 || h[len(h)-1].Epoch != 1 {
			t.Errorf("history of %s: %+v", n, h)
		}
	}
}

// The primary is killed right after a switchover was ordered: whatever was committed stays.
func TestKill_inSwitchover(t *testing.T) {
	p := newRig(t)
	for _, delay := range []time.Duration{0, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		primary := p.primary()
		epoch := p.epoch("w")
		done := make(chan error, 1)
		go func() { done <- p.Switchover(lab.Peer(primary)) }()
		p.until("the order is on its way", func() bool { return p.epoch("w") > epoch || len(done) > 0 || delay == 0 })
		time.Sleep(delay)
		p.kill(primary)
		t.Logf("killed %s %v into its switchover: %v", primary, delay, <-done)
		p.restart(primary)
		p.healthy()
		p.grown("w", epoch)
	}
}

// A sidecar that stands still for a while, and then goes on as if nothing had been: nobody else is disturbed, and two never hold the
// address. The primary's may lose the role.
func TestFreeze(t *testing.T) {
	p := newRig(t)
	epoch := p.epoch("w")
	for _, c := range []struct {
		who  string
		span time.Duration
	}{
		{"primary", 100 * time.Millisecond}, {"primary", time.Second}, {"primary", 5 * time.Second},
		{"witness", time.Second}, {"witness", 5 * time.Second}, {"backup", time.Second}, {"backup", 5 * time.Second},
	} {
		t.Run(c.who+" "+c.span.String(), func(t *testing.T) {
			p.t = t
			primary := p.primary()
			n := map[string]string{"primary": primary, "backup": lab.Peer(primary), "witness": lab.Witness}[c.who]
			at := lab.Now()
			p.signal(n, syscall.SIGSTOP)
			time.Sleep(c.span)
			p.signal(n, syscall.SIGCONT)
			p.healthy()
			o := p.outage(at)
			t.Logf("%s was primary, then %v; outage %v, %d of %d lost", primary, o.Servers, o.Longest, o.Lost, o.Asked)
			if away(o) {
				t.Errorf("the service was away for %v", o.Longest)
			}
			if c.who != "primary" && len(o.Servers) != 1 {
				t.Errorf("the role moved: %v", o.Servers)
			}
			epoch = p.grown("w", epoch)
		})
	}
	p.t = t
}
