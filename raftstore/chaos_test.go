package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// ledger holds every node to one history: whatever any node ever reported for an epoch is what every other reports for it.
type ledger struct {
	mu    sync.Mutex
	t     *testing.T
	lines map[supervisor.Epoch]string
	acked map[supervisor.Epoch]string
}

func (l *ledger) seen(id nodeID, r supervisor.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range r.History {
		if h.Epoch != supervisor.Epoch(i+1) {
			l.t.Errorf("%s has epoch %d in place %d", id, h.Epoch, i)
		}
		if was, ok := l.lines[h.Epoch]; ok && was != h.Reason {
			l.t.Errorf("%s has %q as epoch %d, another node %q", id, h.Reason, h.Epoch, was)
		}
		l.lines[h.Epoch] = h.Reason
	}
}

// Through restarts, lost folders, damaged stores and cut streams no node ever sees another history, and nothing acknowledged is
// forgotten. One node at a time loses its state: two are beyond what three nodes survive.
func TestChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	p := newTestPair(t)
	l := &ledger{t: t, lines: map[supervisor.Epoch]string{}, acked: map[supervisor.Epoch]string{}}
	start := func(id nodeID) {
		p.start(id, func(o *Options) {
			o.Timing.RaftHeartbeat, o.Timing.RaftTransport = 60*time.Millisecond, 100*time.Millisecond
			o.OnRecord = func(r supervisor.Record, _ bool) { l.seen(id, r) }
		})
	}
	ids := []nodeID{"a", "b", "w"}
	for _, id := range ids {
		start(id)
	}
	p.synced(p.live["a"], p.live["b"], p.live["w"])
	down := map[nodeID]bool{}
	allReady := func() bool {
		for _, id := range ids {
			if down[id] || p.live[id].Status().Phase != "ready" || !p.live[id].Status().Synced {
				return false
			}
		}
		return true
	}
	for step := range 150 {
		id := ids[random.IntN(3)]
		n := p.live[id]
		switch k := random.IntN(10); {
		case down[id]:
			start(id)
			delete(down, id)
		case k == 0:
			n.stop()
			down[id] = true
		case k == 1 && allReady():
			n.stop()
			if err := os.RemoveAll(p.state(id)); err != nil {
				t.Fatal(err)
			}
			start(id)
		case k == 2 && allReady():
			n.stop()
			if err := os.Truncate(p.state(id)+"/"+diskFile, 9000); err != nil {
				t.Fatal(err)
			}
			start(id)
		case k == 3:
			n.Campaign()
		case k == 4:
			for _, peer := range n.net.peers {
				peer.closeSession()
			}
		case k == 5:
			_ = n.Transfer(context.Background(), ids[random.IntN(3)])
		default:
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			epoch := n.record().Epoch + 1
			entry := roleEntry(epoch, id)
			entry.Role.Reason = fmt.Sprintf("step %d", step)
			if err := n.Propose(ctx, entry); err == nil {
				l.mu.Lock()
				l.acked[epoch] = entry.Role.Reason
				l.mu.Unlock()
			} else if !errors.Is(err, supervisor.ErrStaleEpoch) {
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
			}
			cancel()
		}
	}
	for id := range down {
		start(id)
	}
	p.synced(p.live["a"], p.live["b"], p.live["w"])
	p.advance(p.live["b"], p.live["a"], p.live["b"], p.live["w"])
	history := p.live["a"].record().History
	t.Logf("%d entries were acknowledged, %d committed", len(l.acked), len(history))
	l.mu.Lock()
	defer l.mu.Unlock()
	for epoch, reason := range l.acked {
		if got := l.lines[epoch]; got != reason {
			t.Errorf("epoch %d was acknowledged as %q and is %q", epoch, reason, got)
		}
	}
	if len(l.acked) == 0 {
		t.Error("the test does not test")
	}
}
