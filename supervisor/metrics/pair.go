package metrics

import (
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

var roles = [...]supervisor.Role{supervisor.RolePrimary, supervisor.RoleBackup, supervisor.RoleWitness, supervisor.RoleNone}

// pair tells who has the role.
func (p *page) pair() {
	n := p.n
	p.gauge(n.primary, is(p.self.Role == supervisor.RolePrimary && p.self.LeaseLeftMS > 0))
	for _, r := range roles {
		p.gauge(n.role, is(r == p.self.Role), string(r))
	}
	p.gauge(n.epoch, float64(p.Epoch))
	if p.Since != nil {
		p.gauge(n.changed, seconds(*p.Since))
	}
	if !p.self.Witness {
		p.gauge(n.ready, is(p.self.Ready))
	}
	p.gauge(n.paused, is(p.Paused != nil))
	p.gauge(n.budget, float64(p.Budget.Left))
	if q := p.Silence; q != nil && q.Watched {
		p.gauge(n.backoff, float64(q.Factor))
	}
	p.gauge(n.lease, p.self.LeaseLeftMS/1000)
}

// peers tells who is there.
func (p *page) peers() {
	p.gauge(p.n.quorum, float64(p.Quorum.Have))
	p.gauge(p.n.leader, is(p.self.RaftLeader))
	for _, v := range p.Nodes {
		if v.Name == p.self.Name {
			continue
		}
		p.gauge(p.n.peer, is(v.Heard), string(v.Name))
		if v.AgeMS >= 0 {
			p.gauge(p.n.mismatch, is(v.ConfigHash != p.self.ConfigHash), string(v.Name))
		}
	}
}

// Kinds of probes.
const (
	ofServer  = "sip-server"
	ofService = "service-address"
)

// probes tells who gets an answer from what: this node by itself, the others by their reports.
func (p *page) probes() {
	for _, v := range p.Nodes {
		if !v.Heard {
			continue
		}
		if !v.Witness {
			p.view(v.Server, ofServer, string(v.Name), v)
		}
		for member, view := range v.Members {
			p.view(view, ofServer, member, v)
		}
		if len(p.Addresses) > 0 {
			p.view(v.Service, ofService, bare(p.Addresses[0]), v)
		}
	}
}

func (p *page) view(v status.View, probe, target string, vantage status.Node) {
	if v.Class != supervisor.ClassServing && v.Class != supervisor.ClassDraining && v.Class != supervisor.ClassDead {
		return
	}
	p.gauge(p.n.probe, is(v.Class != supervisor.ClassDead), probe, target, string(vantage.Name))
	if v.RTTMS > 0 {
		p.gauge(p.n.probeTime, v.RTTMS/1000, probe, target, string(vantage.Name))
	}
}

// bare is an address without the length of its prefix.
func bare(prefix string) string {
	address, _, _ := strings.Cut(prefix, "/")
	return address
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
