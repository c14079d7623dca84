package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// clean checks that a member left nothing behind: no service address and no table of packet filter rules.
func (p *rig) clean(member string) {
	p.t.Helper()
	out, err := p.lab.Run(member, "ip", "-brief", "addr", "show", "dev", "sip0")
	p.must(err)
	for _, a := range []string{lab.ServiceAddress.String() + "/", lab.ServiceAddress6.String() + "/"} {
		if strings.Contains(string(out), a) {
			p.t.Errorf("%s left %s behind:\n%s", member, a, out)
		}
	}
	out, err = p.lab.Run(member, "nft", "list", "tables")
	p.must(err)
	if strings.Contains(string(out), "understudy") {
		p.t.Errorf("%s left a table behind:\n%s", member, out)
	}
}

// SIGTERM to each node: the primary hands over first, the others just go; each ends with 0 and leaves nothing behind.
func TestStop(t *testing.T) {
	for _, who := range []string{"primary", "backup", "witness"} {
		t.Run(who, func(t *testing.T) {
			p := newRig(t)
			primary := p.primary()
			n := map[string]string{"primary": primary, "backup": lab.Peer(primary), "witness": lab.Witness}[who]
			at := lab.Now()
			p.signal(n, syscall.SIGTERM)
			if code := p.code(n); code != 0 {
				t.Errorf("exit code %d", code)
			}
			time.Sleep(time.Second) // the others live on
			o := p.outage(at)
			t.Logf("served by %v, outage %v, %d of %d lost", o.Servers, o.Longest, o.Lost, o.Asked)
			if n != lab.Witness {
				p.clean(n)
			}
			p.untilLog(n, "stopped")
			switch {
			case n != primary:
				p.stayed(at, primary)
			case away(o) || o.Longest > time.Second || o.Servers[len(o.Servers)-1] != lab.Peer(primary):
				t.Errorf("the role was not handed over: %+v", o)
			}
			for _, other := range allNodes() {
				if other != n {
					p.untilStatus(other, n+" has been silent for")
				}
			}
			p.restart(n)
			p.healthy()
		})
	}
}

// A second signal leaves at once, here with a SIP server at the other member that can't take over: the address is dropped.
func TestStop_now(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	p.must(p.lab.Server(lab.Peer(primary)).Kill())
	p.untilStatus(primary, lab.Peer(primary)+" cannot take over")
	began := time.Now()
	p.signal(primary, syscall.SIGTERM)
	p.signal(primary, syscall.SIGTERM)
	code := p.code(primary)
	t.Logf("exit code %d after %v", code, time.Since(began))
	p.clean(primary)
}

// The last member to be stopped has nobody to hand over to: it still ends in order, in bounded time.
func TestStop_alone(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	for _, n := range []string{lab.Witness, lab.Peer(primary), primary} {
		p.signal(n, syscall.SIGTERM)
		began := time.Now()
		if code := p.code(n); code != 0 {
			t.Errorf("%s: exit code %d", n, code)
		}
		t.Logf("%s ended after %v", n, time.Since(began))
	}
	p.clean(primary)
	p.restart(allNodes()...)
	p.healthy()
}
