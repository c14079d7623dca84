package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Alertmanager is a reaction that keeps a Prometheus Alertmanager told of all active alarms, by its API v2. It sends them when they
// change and then every minute; an alert that is no longer sent, because this node died or is primary no more, ends by itself after
// four. Clearance lists don't matter to it: an end is always told.
type Alertmanager struct {
	HTTP                     // URL without /api/v2/alerts
	Labels map[string]string // added to each alert's
}

// The protocol's times.
const (
	alertEvery   = time.Minute
	alertLasts   = 4 * alertEvery
	resolveLasts = 15 * time.Minute // how long an end is told for, while nobody takes it
	resolveLimit = 300              // ends that wait
)

func (m *Alertmanager) validate(*Options) error {
	errs := []error{m.HTTP.validate()}
	for name := range m.Labels {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name[0] >= '0' && name[0] <= '9' {
			errs = append(errs, fmt.Errorf("label %q: use letters, digits and _", name))
		}
	}
	return errors.Join(errs...)
}

// push is an Alertmanager at work.
type push struct {
	name  string
	o     Options
	m     Alertmanager
	limit time.Duration
	p     *poster
	wake  chan struct{}

	mu       sync.Mutex
	firing   map[key]supervisor.Alarm
	resolved []supervisor.Alarm // ends that were not taken yet
}

func newPush(r Reaction, o Options) *push {
	return &push{
		name: r.Name, o: o, m: *r.Alertmanager, limit: r.Limit, p: newPoster(r.Alertmanager.HTTP),
		wake: make(chan struct{}, 1), firing: map[key]supervisor.Alarm{},
	}
}

// tell has nothing to do: states says it all.
func (p *push) tell(_ Notice, done func()) { done() }

func (p *push) states(active, cleared []supervisor.Alarm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[key]supervisor.Alarm, len(active))
	changed := false
	for _, a := range active {
		k := key{a.Condition, a.Object}
		old, was := p.firing[k]
		changed = changed || !was || old.Severity != a.Severity || !old.First.Equal(a.First)
		next[k] = a
	}
	for k, a := range p.firing {
		if _, still := next[k]; still {
			continue
		}
		i := slices.IndexFunc(cleared, func(c supervisor.Alarm) bool {
			return c.Condition == k.condition && c.Object == k.object && (c.ID == a.ID || a.ID == 0) && !c.First.Before(a.First)
		})
		switch {
		case i >= 0:
			a = cleared[i]
		case a.ID == 0:
			a.ClearedAt = time.Now() // it came and went without ever being committed
		default:
			continue // another node tells of it now, or it ends by itself
		}
		p.resolved = append(p.resolved, a)
		changed = true
	}
	p.resolved = slices.DeleteFunc(p.resolved, func(a supervisor.Alarm) bool { // it has come back
		_, back := next[key{a.Condition, a.Object}]
		return back
	})
	if n := len(p.resolved) - resolveLimit; n > 0 {
		p.resolved = slices.Delete(p.resolved, 0, n)
	}
	p.firing = next
	if changed {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *push) run(ctx context.Context) {
	failures := 0
	timer := time.NewTimer(alertEvery)
	defer timer.Stop()
	for {
		if failures == 0 {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
			case <-timer.C:
			}
		} else {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := alertEvery
		switch {
		case err == nil && failures > 0:
			p.o.Logger.Info("alertmanager takes alerts again", zap.String("target", p.name))
			failures = 0
		case err != nil:
			failures++
			wait = pause(failures)
			if failures == 1 {
				p.o.Logger.Warn("alertmanager does not take alerts, they are sent again", zap.String("target", p.name), zap.Error(err))
				if p.o.Failed != nil {
					p.o.Failed(p.name, Notice{Cluster: p.o.Cluster, Node: p.o.Self, At: time.Now()}, err)
				}
			}
		}
		timer.Reset(wait)
	}
}

// alert is what the API takes; times in RFC 3339.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func (p *push) once(ctx context.Context) error {
	now := time.Now()
	p.mu.Lock()
	p.resolved = slices.DeleteFunc(p.resolved, func(a supervisor.Alarm) bool { return now.Sub(a.ClearedAt) > resolveLasts })
	resolved := slices.Clone(p.resolved)
	list := slices.SortedFunc(maps.Values(p.firing), func(a, b supervisor.Alarm) int {
		return strings.Compare(a.Condition+"\x00"+a.Object, b.Condition+"\x00"+b.Object)
	})
	p.mu.Unlock()
	alerts := make([]alert, 0, len(list)+len(resolved))
	for _, a := range append(list, resolved...) {
		alerts = append(alerts, p.alert(a, now))
	}
	if len(alerts) == 0 {
		return nil
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("encode the alerts: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	if err := p.p.post(ctx, strings.TrimRight(p.m.URL, "/")+"/api/v2/alerts", body); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resolved = slices.DeleteFunc(p.resolved, func(a supervisor.Alarm) bool {
		return slices.ContainsFunc(resolved, func(b supervisor.Alarm) bool {
			return a.ID == b.ID && a.Condition == b.Condition && a.Object == b.Object
		})
	})
	return nil
}

// alert gives an alarm in Alertmanager's form. The labels are what makes it the same alert, so they hold nothing that changes while
// the alarm is active except the severity.
func (p *push) alert(a supervisor.Alarm, now time.Time) alert {
	labels := map[string]string{}
	maps.Copy(labels, p.m.Labels)
	for name, value := range map[string]string{
		"alertname": a.Condition, "cluster": p.o.Cluster, "object": a.Object, "severity": string(a.Severity), "event_id": a.EventID,
		"node": string(a.Node),
	} {
		if value != "" {
			labels[name] = value
		}
	}
	annotations := map[string]string{"summary": a.Text, "count": fmt.Sprint(a.Count)}
	if a.Evidence != "" {
		annotations["description"] = a.Evidence
	}
	if a.Acked.By != "" {
		annotations["acknowledged_by"] = a.Acked.By
	}
	end := now.Add(alertLasts)
	if !a.Active() {
		end = a.ClearedAt
		if end.After(now) { // that node's clock is ahead: it is over all the same
			end = now
		}
	}
	start := a.First
	if start.After(end) {
		start = end
	}
	return alert{Labels: labels, Annotations: annotations, StartsAt: start.UTC(), EndsAt: end.UTC()}
}
