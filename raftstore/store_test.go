package raftstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// A new pair elects a leader, and entries proposed at any node reach all of them, in order and synced.
func TestStore_commitsFromEveryNode(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	for i, n := range []*testNode{a, b, w, a, b, w} {
		n.propose(t, roleEntry(supervisor.Epoch(i+1), []nodeID{"a", "b"}[i%2]))
	}
	p.agree(6, a, b, w)
	for _, n := range []*testNode{a, b, w} {
		n.mu.Lock()
		var last supervisor.Epoch
		for _, r := range n.records {
			if r.r.Epoch < last {
				t.Errorf("%s saw epoch %d after %d", n.id, r.r.Epoch, last)
			}
			last = r.r.Epoch
		}
		if got := n.records[len(n.records)-1]; !got.synced || got.r.Primary != "b" {
			t.Errorf("%s ended with %+v", n.id, got)
		}
		n.mu.Unlock()
	}
}

// The record's own reasons survive forwarding to the leader, to be compared with errors.Is and to be read.
func TestStore_errorsSurviveForwarding(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	led := p.leader(a, b, w)
	led.propose(t, roleEntry(1, "a"))
	pause := supervisor.Pause{Until: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Reason: "maintenance", By: "test"}
	led.propose(t, supervisor.Entry{Pause: &supervisor.PauseEntry{At: time.Unix(2, 0), Pause: pause}})
	automatic := roleEntry(2, "b")
	automatic.Role.Trigger = supervisor.TriggerSilent
	judged := roleEntry(2, "b")
	judged.Role.Trigger = supervisor.TriggerPath
	tests := []struct {
		name   string
		before *supervisor.Entry
		entry  supervisor.Entry
		want   error
	}{
		{"stale epoch", nil, roleEntry(1, "b"), supervisor.ErrStaleEpoch},
		{"paused", nil, automatic, supervisor.ErrPaused},
		{"budget", &supervisor.Entry{Resume: true}, judged, supervisor.ErrBudget},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before != nil {
				led.propose(t, *tt.before)
			}
			for _, n := range []*testNode{a, b, w} {
				err := n.Propose(context.Background(), tt.entry)
				if !errors.Is(err, tt.want) || err.Error() == "" {
					t.Errorf("at %s (leader %s): got %v, want %v", n.id, led.id, err, tt.want)
				}
			}
		})
	}
}

// Without a majority nothing is committed, and the caller is told so.
func TestStore_noLeader(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	p.leader(a, b, w)
	b.stop()
	w.stop()
	eventually(t, "a knows of no leader", func() bool { return a.Status().Leader == "" })
	if err := a.Propose(context.Background(), roleEntry(1, "a")); !errors.Is(err, ErrNoLeader) {
		t.Errorf("got %v, want %v", err, ErrNoLeader)
	}
}

// Campaign makes a follower lead although the other voter still believes in the leader that is gone.
func TestStore_campaign(t *testing.T) {
	p := newTestPair(t)
	slow := func(o *Options) { o.Timing.RaftHeartbeat = 5 * time.Second }
	a, b, w := p.start("a", slow), p.start("b", slow), p.start("w", slow)
	p.synced(a, b, w)
	led := p.leader(a, b, w)
	led.propose(t, roleEntry(1, "a"))
	others := p.others(led.id)
	p.agree(1, others...)
	led.stop()
	start := time.Now()
	others[0].Campaign()
	eventually(t, "the challenger leads", func() bool { return others[0].Status().State == "leader" })
	t.Logf("leader after %v", time.Since(start))
	others[0].propose(t, roleEntry(2, "b"))
	t.Logf("commit after %v", time.Since(start))
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v: Raft's own timers did it", took)
	}
	p.agree(2, others...)
}

// Transfer moves leadership; to a node that is not there it is refused and proposals go on working.
func TestStore_transfer(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	led := p.leader(a, b, w)
	others := p.others(led.id)
	led.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	eventually(t, "leadership moves", func() bool {
		return led.Transfer(context.Background(), others[0].id) == nil || others[0].Status().State == "leader"
	})
	eventually(t, "the other leads", func() bool { return p.leader(a, b, w) == others[0] })
	if err := led.Transfer(context.Background(), others[1].id); !errors.Is(err, ErrNoLeader) {
		t.Errorf("transfer by a follower: got %v, want %v", err, ErrNoLeader)
	}
	others[1].stop()
	eventually(t, "the stop is noticed", func() bool { return !others[0].Status().Peers[others[1].id].Up })
	if err := others[0].Transfer(context.Background(), others[1].id); err == nil {
		t.Error("transfer to a stopped node succeeded")
	}
	others[0].propose(t, roleEntry(2, "b"))
}

// Reports and lease messages reach the others under their sender's name.
func TestStore_reportsAndMessages(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.Report(supervisor.Report{Node: "b", Epoch: 7, State: supervisor.Serving})
	for _, n := range []*testNode{b, w} {
		eventually(t, "report arrives", func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(n.reports) > 0 && n.reports[len(n.reports)-1].Node == "a" && n.reports[len(n.reports)-1].Epoch == 7
		})
	}
	want := supervisor.Message{Kind: supervisor.KindRenew, Epoch: 3, Seq: 9, Wait: 150 * time.Millisecond}
	for _, from := range []*testNode{a, b, w} {
		for _, to := range p.others(from.id) {
			eventually(t, "message arrives", func() bool {
				from.Send(to.id, want)
				to.mu.Lock()
				defer to.mu.Unlock()
				for _, got := range to.messages {
					if got.from == from.id && got.m == want {
						return true
					}
				}
				return false
			})
		}
	}
}

// A restarted node has its record back, as synced only once it knows what was committed meanwhile.
func TestStore_restart(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	b.stop()
	a.propose(t, roleEntry(2, "b"))
	b = p.start("b")
	p.synced(b)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		if r.synced && r.r.Epoch < 2 {
			t.Errorf("epoch %d reported as synced, epoch 2 was committed before", r.r.Epoch)
		}
	}
}
