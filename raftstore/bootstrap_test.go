package raftstore

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// A node without a store begins, learns or waits by what the two others say; DESIGN.md argues each row.
func TestDecideJoin(t *testing.T) {
	fresh, lost := standing{Phase: phaseNew}, standing{Phase: phaseLost}
	begun := standing{Phase: phaseReady, Term: 1, Last: 1}
	old := standing{Phase: phaseReady, Term: 7, Last: 57}
	learning := standing{Phase: phaseLearning, Term: 8, Last: 20}
	type told = map[nodeID]standing
	tests := []struct {
		name   string
		own    phase
		told   told
		accept bool
		want   verdict
		term   uint64
		says   string
	}{
		{"nobody there", phaseNew, told{}, false, verdictWait, 0, "waits for b, w"},
		{"nobody there, told to", phaseLost, told{}, true, verdictWait, 0, "waits for b, w"},
		{"three new nodes", phaseNew, told{"b": fresh, "w": fresh}, false, verdictBegin, 1, ""},
		{"a new node and a begun pair", phaseNew, told{"b": begun, "w": begun}, false, verdictBegin, 1, ""},
		{"a new node and half a pair", phaseNew, told{"b": fresh}, false, verdictWait, 0, "w is not there"},
		{"half a pair, told to", phaseNew, told{"b": fresh}, true, verdictBegin, 1, ""},
		{"a pair with a past", phaseNew, told{"b": old, "w": old}, false, verdictLearn, 7, ""},
		{"newest term of both counts", phaseLost, told{"b": old, "w": {Phase: phaseReady, Term: 9, Last: 3}}, false, verdictLearn, 9, ""},
		{"an election that came to nothing counts too", phaseNew, told{"b": {Phase: phaseReady, Term: 5, Last: 1}, "w": fresh}, false, verdictBegin, 5, ""},
		{"one with a past, one away", phaseLost, told{"b": old}, false, verdictWait, 0, "w is not there"},
		{"one with a past, told to", phaseLost, told{"b": old}, true, verdictForce, 7, ""},
		{"one with a past, one lost", phaseLost, told{"b": old, "w": lost}, false, verdictWait, 0, "nor has w"},
		{"one with a past, one new", phaseNew, told{"b": old, "w": fresh}, false, verdictWait, 0, "nor has w"},
		{"one with a past, one learning", phaseLost, told{"b": old, "w": learning}, false, verdictWait, 0, "nor has w"},
		{"all lost", phaseLost, told{"b": lost, "w": lost}, false, verdictWait, 0, "no node has the record"},
		{"one lost, two new", phaseLost, told{"b": fresh, "w": fresh}, false, verdictWait, 0, "no node has the record"},
		{"another lost, two new", phaseNew, told{"b": lost, "w": fresh}, false, verdictWait, 0, "no node has the record"},
		{"all lost, told to", phaseLost, told{"b": lost, "w": lost}, true, verdictBegin, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, term, why := decideJoin("a", tt.own, []nodeID{"b", "w"}, tt.told, tt.accept)
			if v != tt.want || term != tt.term || !strings.Contains(why, tt.says) || why == "" {
				t.Errorf("got %v in term %d because %q, want %v in %d because %q", v, term, why, tt.want, tt.term, tt.says)
			}
		})
	}
}

// Two of three new nodes don't begin: the third might know of a past.
func TestJoin_needsAllThree(t *testing.T) {
	p := newTestPair(t)
	a, b := p.start("a"), p.start("b")
	for _, n := range []*testNode{a, b} {
		eventually(t, "waits for w", func() bool { return strings.Contains(n.Status().Waiting, "w is not there") })
	}
	w := p.start("w")
	p.synced(a, b, w)
}

// A node whose folder is gone takes everything from the others before it votes, and then votes.
func TestJoin_lostFolder(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	for i := range 20 {
		a.propose(t, roleEntry(supervisor.Epoch(i+1), "a"))
	}
	b.stop()
	if err := os.RemoveAll(p.state("b")); err != nil {
		t.Fatal(err)
	}
	b = p.start("b")
	p.synced(b)
	p.agree(20, b)
	if got := b.Status().Phase; got != "ready" {
		t.Errorf("phase is %s", got)
	}
	w.stop() // b's vote is needed now
	b.propose(t, roleEntry(21, "b"))
	p.agree(21, a, b)
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.records[len(b.records)-1]; !last.synced {
		t.Errorf("last record is %+v", last)
	}
}

// While one of the others is away, a node whose folder is gone stays without a vote: the pair stands still rather than forget.
func TestJoin_lostFolderNeedsBoth(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	w.stop()
	b.stop()
	if err := os.RemoveAll(p.state("b")); err != nil {
		t.Fatal(err)
	}
	b = p.start("b")
	eventually(t, "b waits for w", func() bool { return strings.Contains(b.Status().Waiting, "w is not there") })
	eventually(t, "nobody leads", func() bool { return a.Status().Leader == "" })
	if st := b.Status(); st.Synced || st.State != "stopped" {
		t.Errorf("b is %+v", st)
	}
	w = p.start("w")
	p.synced(a, b, w)
	p.agree(1, a, b, w)
}

// Two lost folders need an operator; once told so, the node votes with what the third one knows.
func TestJoin_acceptLoss(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	for _, n := range []*testNode{b, w} {
		n.stop()
		if err := os.RemoveAll(p.state(n.id)); err != nil {
			t.Fatal(err)
		}
	}
	b, w = p.start("b"), p.start("w")
	eventually(t, "b says what to do", func() bool { return strings.Contains(b.Status().Waiting, "accept the loss") })
	b.stop()
	b = p.start("b", func(o *Options) { o.AcceptLoss = true })
	p.synced(a, b, w)
	p.agree(1, a, b, w)
	b.propose(t, roleEntry(2, "b"))
	p.agree(2, a, b, w)
}

// A learning node that is killed goes on learning: its store never counts as complete before it is.
func TestJoin_killedWhileLearning(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	a.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	b.stop()
	o := p.options("b")
	f := &folder{dir: o.Dir}
	f.file = nodeFile{Cluster: o.Cluster, Node: o.Self, Nodes: []nodeID{"a", "b", "w"}, Phase: phaseReady}
	if err := os.Remove(f.path(diskFile)); err != nil {
		t.Fatal(err)
	}
	if err := f.setPhase(phaseLearning); err != nil {
		t.Fatal(err)
	}
	d := mustOpenDisk(t, f.path(diskFile))
	if err := d.prepare(a.Status().Term, false, nil); err != nil {
		t.Fatal(err)
	}
	d.close()
	b = p.start("b")
	p.synced(b)
	p.agree(1, b)
	eventually(t, "b votes", func() bool { return b.Status().Phase == "ready" })
}

// A learning node gives no vote and asks for none: with the third node gone nobody leads until it has learnt.
func TestJoin_learningHasNoVote(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	eventually(t, "a leads", func() bool {
		led := p.leader(a, b, w)
		return led == a || led.Transfer(context.Background(), "a") == nil
	})
	p.leader(a, b, w)
	b.engine.Load().trans.voteless.Store(true)
	a.stop()
	term := b.Status().Term
	eventually(t, "w tries", func() bool { return w.Status().State == "candidate" })
	for end := time.Now().Add(5 * testTiming().RaftHeartbeat); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b.Campaign()
		if b.Status().State == "leader" || w.Status().State == "leader" {
			t.Fatal("elected with the vote of a node that may have forgotten one")
		}
	}
	if got := b.Status().Term; got != term {
		t.Errorf("b went from term %d to %d", term, got)
	}
	b.engine.Load().trans.voteless.Store(false)
	p.leader(b, w)
}
