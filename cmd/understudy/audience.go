package main

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/hook"
)

// audience tells people and programs what happened: the log, the hooks, and whoever asked to be told of role changes.
type audience struct {
	node    supervisor.NodeID
	cluster string
	log     *zap.Logger
	hooks   *hook.Queue
	changed func(supervisor.Became)

	mu   sync.Mutex
	role supervisor.Role
	last map[string]time.Time // alerts, by name and text
}

var _ supervisor.Audience = (*audience)(nil)

// Became logs a transition. Roles, not states, reach the hooks: nobody wants a page for a heartbeat.
func (a *audience) Became(b supervisor.Became) {
	a.log.Info("state", zap.String("from", string(b.From)), zap.String("to", string(b.To)), zap.Uint64("term", uint64(b.Epoch)),
		zap.String("peer", string(b.Primary)), zap.String("why", b.Why))
	a.changed(b)
	role := b.To.Role()
	a.mu.Lock()
	same := role == a.role
	a.role = role
	a.mu.Unlock()
	if same {
		return
	}
	ev := hook.Event{Event: "role", Node: a.node, Cluster: a.cluster, Role: role, State: b.To, Epoch: b.Epoch, Primary: b.Primary, Why: b.Why, At: time.Now()}
	if role == supervisor.RolePrimary || role == supervisor.RoleBackup {
		a.hooks.Role(ev)
	}
	a.hooks.Notify(ev)
}

// alertEvery is how often the same alert is repeated at most.
const alertEvery = time.Minute

// Alert logs and passes on what is no change of state.
func (a *audience) Alert(al supervisor.Alert) {
	a.mu.Lock()
	key := al.Name + al.Text
	if time.Since(a.last[key]) < alertEvery {
		a.mu.Unlock()
		return
	}
	if a.last == nil || len(a.last) > 100 {
		a.last = map[string]time.Time{}
	}
	a.last[key] = time.Now()
	role := a.role
	a.mu.Unlock()
	a.log.Warn("alert", zap.String("code", al.Name), zap.String("why", al.Text))
	a.hooks.Notify(hook.Event{Event: al.Name, Node: a.node, Cluster: a.cluster, Role: role, Why: al.Text, At: time.Now()})
}
