package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// keepsContacts makes the pair keep the registrations of its Kamailios the same.
func keepsContacts(p *rig) {
	p.prepare = p.lab.RestartServers
	p.extra += fmt.Sprintf("contacts: {server: kamailio, kamailio: {rpc: \"%s/kamailio-{node}/rpc.sock\"}}\n", p.lab.Dir())
}

// contacts is what a node says of the registrations.
func (p *rig) contacts(node string) (c status.Contacts) {
	out, _ := p.cli(node, "contacts", "-o", "json") // the exit code is of being in sync
	_ = json.Unmarshal([]byte(out), &c)
	return c
}

// inSync waits until both members and their servers have so many Contacts.
func (p *rig) inSync(contacts int) {
	p.t.Helper()
	var last [2]status.Contacts
	defer func() {
		if p.t.Failed() {
			p.t.Logf("a: %+v\nb: %+v", last[0], last[1])
		}
	}()
	p.until(fmt.Sprintf("both have %d Contacts", contacts), func() bool {
		for i, n := range lab.Members() {
			last[i] = p.contacts(n)
			c := last[i]
			if !c.InSync || c.Contacts != contacts || c.OnServer == nil || *c.OnServer != contacts || c.Waiting > 0 {
				return false
			}
		}
		return true
	})
}

// A phone that registered at the primary is called through the other server once the primary's host is dead, each exactly once, and none
// had to register again.
func TestContacts_hostDead(t *testing.T) {
	p := newRig(t, keepsContacts)
	const n = 2000
	phones, err := p.lab.Phones(n)
	p.must(err)
	t.Cleanup(func() { p.must(phones.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	was := p.primary()

	p.must(phones.Register(ctx, 0, n, 3600))
	p.inSync(n)
	p.must(phones.Register(ctx, 0, 100, 3600)) // refreshes
	p.must(phones.Register(ctx, 100, 150, 0))  // and some leave
	p.inSync(n - 50)

	fault, err := lab.FaultByName("host-dead")
	p.must(err)
	_, err = p.lab.Inject(fault)
	p.must(err)
	p.until("the other serves", func() bool { who := p.lab.Primary(); return who != "" && who != was })
	began := time.Now()
	p.must(phones.Call(ctx, 0, 100))
	p.must(phones.Call(ctx, 150, n))
	took := time.Since(began)
	rang := phones.Rang()
	for i := range n {
		want := 1
		if i >= 100 && i < 150 {
			want = 0
		}
		if rang[i] != want {
			t.Errorf("phone %d was called %d times, want %d", i, rang[i], want)
		}
	}
	t.Logf("%d phones called %v after the takeover", n-50, took)

	// Those that register again where the primary is now do so in place.
	p.must(phones.Register(ctx, 0, 50, 3600))
	p.must(p.lab.Heal())
	p.healthy()
	p.inSync(n - 50)
	if out, err := p.cli(was, "contacts", "--diff"); err != nil {
		t.Errorf("table and server of %s: %v\n%s", was, err, out)
	}
}

// A server that starts again on either side is told everything again. What it tells by itself is enough to learn from.
func TestContacts_serverRestarts(t *testing.T) {
	p := newRig(t, keepsContacts, func(p *rig) { p.extra = strings.Replace(p.extra, "{server", "{learn: server, server", 1) })
	const n = 500
	phones, err := p.lab.Phones(n)
	p.must(err)
	t.Cleanup(func() { p.must(phones.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	p.must(phones.Register(ctx, 0, n, 3600))
	p.inSync(n)
	for range 2 { // the role moves; the server that comes back knows nobody
		fault, err := lab.FaultByName("server-killed")
		p.must(err)
		was := p.primary()
		_, err = p.lab.Inject(fault)
		p.must(err)
		p.until("the other serves", func() bool { who := p.lab.Primary(); return who != "" && who != was })
		p.must(p.lab.Heal())
		p.healthy()
		p.inSync(n)
	}
	p.must(phones.Call(ctx, 0, n))
	for i, calls := range phones.Rang() {
		if calls != 1 {
			t.Errorf("phone %d was called %d times", i, calls)
		}
	}
}
