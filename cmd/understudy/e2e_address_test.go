package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-sip/understudy/contrib/lab"
)

// Somebody takes the address away, or the rules that guard it, or gives it to the backup: it is put right, and the role need not move.
func TestAddress_meddled(t *testing.T) {
	p := newRig(t)
	for _, c := range []struct {
		name   string
		meddle func(primary string)
	}{
		{"deleted by hand", func(m string) {
			p.run(m, "ip", "addr", "del", lab.ServiceAddress.String()+"/32", "dev", "sip0")
			p.run(m, "ip", "addr", "del", lab.ServiceAddress6.String()+"/128", "dev", "sip0")
		}},
		{"deleted again and again", func(m string) {
			for range 20 {
				_, _ = p.lab.Run(m, "ip", "addr", "del", lab.ServiceAddress.String()+"/32", "dev", "sip0")
			}
		}},
		{"all addresses flushed but the host's", func(m string) {
			// It looks again whether anything is left, and gives up if there is: what was put right meanwhile.
			_, _ = p.lab.Run(m, "ip", "-loops", "2", "-6", "addr", "flush", "dev", "sip0", "to", lab.ServiceAddress6.String())
		}},
		{"ruleset flushed", func(m string) { p.run(m, "nft", "flush", "ruleset") }},
		{"set down and up again", func(m string) {
			p.run(m, "ip", "link", "set", "sip0", "down")
			p.run(m, "ip", "link", "set", "sip0", "up")
			p.run(m, "ip", "addr", "replace", fmt.Sprintf("fd77:2::%d/64", lab.Addr(m, lab.SIP).As4()[3]), "dev", "sip0", "nodad")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			primary := p.primary()
			at := lab.Now()
			c.meddle(primary)
			p.healthy()
			o := p.outage(at)
			t.Logf("%s was primary; served by %v, outage %v, %d lost", primary, o.Servers, o.Longest, o.Lost)
			if away(o) {
				t.Errorf("the service was away for %v", o.Longest)
			}
		})
	}
	p.t = t
}

// A careless operator gives the backup the address: the backup takes it away again, at once.
func TestAddress_atBackup(t *testing.T) {
	p := newRig(t, func(p *rig) { p.twice = true })
	primary := p.primary()
	backup := lab.Peer(primary)
	at := lab.Now()
	p.must(p.lab.SetHolder(backup, true))
	p.until("the address is gone again", func() bool {
		out, err := p.lab.Run(backup, "ip", "-brief", "addr", "show", "dev", "sip0")
		p.must(err)
		return !strings.Contains(string(out), lab.ServiceAddress.String()+"/")
	})
	now := lab.Now()
	t.Logf("two answered for %v", lab.TwoHolders(p.lab.Observer.Window(at, now), at, now))
	p.healthy()
	p.stayed(at, primary)
}

// The interface of the primary is removed, as when a virtual machine loses its card: the role moves; when there is one of that name again,
// the member is ready again.
func TestAddress_interfaceRemoved(t *testing.T) {
	p := newRig(t)
	primary := p.primary()
	backup := lab.Peer(primary)
	at := lab.Now()
	p.run(primary, "ip", "link", "del", "sip0")
	p.until("the other member serves", func() bool { return p.lab.Primary() == backup })
	o := p.outage(at)
	t.Logf("served by %v, outage %v, %d lost", o.Servers, o.Longest, o.Lost)
	p.untilStatus(backup, primary+" cannot take over: ")
	out, _ := p.cli(backup, "status")
	t.Log(out)

	octet := lab.Addr(primary, lab.SIP).As4()[3]
	pids := p.lab.Server(primary).PIDs()
	p.run("switch", "ip", "link", "add", "sip-"+primary, "master", "sip", "type", "veth", "peer", "name", "sip0",
		"address", fmt.Sprintf("02:77:02:00:00:%02x", octet), "netns", fmt.Sprint(pids[0]))
	p.run("switch", "ip", "link", "set", "sip-"+primary, "up")
	p.run(primary, "ip", "link", "set", "sip0", "up")
	p.run(primary, "ip", "addr", "add", lab.Addr(primary, lab.SIP).String()+"/24", "dev", "sip0")
	p.run(primary, "ip", "addr", "add", fmt.Sprintf("fd77:2::%d/64", octet), "dev", "sip0", "nodad")
	p.healthy()
	p.must(p.Switchover(primary))
	p.healthy()
	if now := p.primary(); now != primary {
		t.Errorf("%s serves, not %s", now, primary)
	}
}
