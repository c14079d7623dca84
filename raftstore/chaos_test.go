package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// ledger holds every node to one history: whatever any node ever reported for an epoch is what every other reports for it.
type ledger struct {
	t     *testing.T
	mu    sync.Mutex
	lines map[supervisor.Epoch]string // by epoch: the reason, which is different for each proposal
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

// chaos is a pair to which bad things happen.
type chaos struct {
	*testPair
	ledger
	random *rand.Rand
	down   map[nodeID]bool
}

var chaosNodes = []nodeID{"a", "b", "w"}

func (c *chaos) begin(id nodeID) {
	c.start(id, func(o *Options) {
		o.Timing.RaftHeartbeat, o.Timing.RaftTransport = 60*time.Millisecond, 100*time.Millisecond
		o.OnRecord = func(r supervisor.Record, _ bool) { c.seen(id, r) }
	})
	delete(c.down, id)
}

func (c *chaos) allReady() bool {
	for _, id := range chaosNodes {
		if c.down[id] || c.live[id].Status().Phase != "ready" || !c.live[id].Status().Synced {
			return false
		}
	}
	return true
}

// lose ends a node and harms its state folder, if no other node lacks state already.
func (c *chaos) lose(id nodeID, harm func(string) error) {
	if !c.allReady() {
		return
	}
	c.live[id].stop()
	if err := harm(c.state(id)); err != nil {
		c.ledger.t.Fatal(err)
	}
	c.begin(id)
}

func (c *chaos) step(number int) {
	id := chaosNodes[c.random.IntN(3)]
	n := c.live[id]
	switch k := c.random.IntN(10); {
	case c.down[id]:
		c.begin(id)
	case k == 0:
		n.stop()
		c.down[id] = true
	case k == 1:
		c.lose(id, os.RemoveAll)
	case k == 2:
		c.lose(id, func(dir string) error { return os.Truncate(filepath.Join(dir, diskFile), 9000) })
	case k == 3:
		n.Campaign()
	case k == 4:
		for _, peer := range n.net.peers {
			peer.closeSession()
		}
	case k == 5:
		_ = n.Transfer(context.Background(), chaosNodes[c.random.IntN(3)])
	default:
		c.propose(n, number)
	}
}

func (c *chaos) propose(n *testNode, number int) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	epoch := n.record().Epoch + 1
	entry := roleEntry(epoch, n.id)
	entry.Role.Reason = fmt.Sprintf("step %d", number)
	err := n.Propose(ctx, entry)
	if err == nil {
		c.mu.Lock()
		c.acked[epoch] = entry.Role.Reason
		c.mu.Unlock()
	} else if !errors.Is(err, supervisor.ErrStaleEpoch) {
		time.Sleep(time.Duration(c.random.IntN(100)) * time.Millisecond)
	}
}

// Through restarts, lost folders, damaged stores and cut streams no node ever sees another history, and nothing acknowledged is
// forgotten. One node at a time loses its state: two are beyond what three nodes survive.
func TestChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &chaos{
		testPair: newTestPair(t), random: rand.New(rand.NewPCG(seed, 1)), down: map[nodeID]bool{},
		ledger: ledger{t: t, lines: map[supervisor.Epoch]string{}, acked: map[supervisor.Epoch]string{}},
	}
	for _, id := range chaosNodes {
		c.begin(id)
	}
	c.synced(c.live["a"], c.live["b"], c.live["w"])
	for number := range 150 {
		c.step(number)
	}
	for _, id := range chaosNodes {
		if c.down[id] {
			c.begin(id)
		}
	}
	c.synced(c.live["a"], c.live["b"], c.live["w"])
	c.advance(c.live["b"], c.live["a"], c.live["b"], c.live["w"])
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d entries were acknowledged, %d committed", len(c.acked), len(c.lines))
	for epoch, reason := range c.acked {
		if got := c.lines[epoch]; got != reason {
			t.Errorf("epoch %d was acknowledged as %q and is %q", epoch, reason, got)
		}
	}
	if len(c.acked) == 0 {
		t.Error("the test does not test")
	}
}
