package alarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

var errUnknown = errors.New("may or may not have been committed")

// pair is two members and a witness, with a log between them that takes 5 ms. Its reactions are programs that only take notes.
type pair struct {
	t       *testing.T
	engines map[supervisor.NodeID]*Engine
	stops   map[supervisor.NodeID]func()
	options map[supervisor.NodeID]Options

	mu      sync.Mutex
	table   supervisor.Alarms
	log     []supervisor.AlarmEntry // what was committed
	asked   int                     // proposals
	primary supervisor.NodeID
	cut     map[supervisor.NodeID]bool                      // it reaches no majority
	blind   map[supervisor.NodeID]bool                      // the table does not reach it
	lie     func(e supervisor.AlarmEntry) error             // what the proposer hears of what was committed
	ran     []string                                        // "edge-a raised nic-down edge-a"
	exec    func(node supervisor.NodeID, arg string) Result // how programs end
}

func newPair(t *testing.T, change func(o *Options)) *pair {
	p := &pair{t: t, engines: map[supervisor.NodeID]*Engine{}, stops: map[supervisor.NodeID]func(){}, options: map[supervisor.NodeID]Options{},
		primary: "edge-a", cut: map[supervisor.NodeID]bool{}}
	nodes := []supervisor.NodeID{"edge-a", "edge-b", "wit-1"}
	for _, id := range nodes {
		o := DefaultOptions()
		o.Self, o.Nodes, o.Cluster, o.Logger = id, nodes, "sip-edge", zap.NewNop()
		o.Reactions = []Reaction{{Name: "tell", Exec: &Exec{Argv: []string{"/bin/tell", ""}}}}
		o.Default = []string{"tell"}
		o.Proposer = proposer{p, id}
		o.Exec = func(_ context.Context, c Command) Result { return p.program(id, c) }
		if change != nil {
			change(&o)
		}
		p.options[id] = o
		p.start(id)
	}
	t.Cleanup(func() {
		for _, stop := range p.stops {
			stop()
		}
	})
	return p
}

func (p *pair) start(id supervisor.NodeID) {
	p.t.Helper()
	e, err := New(p.options[id])
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	p.mu.Lock()
	p.engines[id] = e
	e.Applied(p.table, Role{Primary: p.primary, Synced: true})
	p.mu.Unlock()
	p.stops[id] = sync.OnceFunc(func() {
		p.mu.Lock()
		if p.engines[id] == e {
			delete(p.engines, id)
		}
		p.mu.Unlock()
		cancel()
		<-done
	})
}

func (p *pair) program(id supervisor.NodeID, c Command) Result {
	env := map[string]string{}
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	arg := c.Argv[1]
	line := strings.TrimSpace(fmt.Sprint(id, " ", strings.TrimPrefix(env["UNDERSTUDY_EVENT"], "alarm-"), " ", env["UNDERSTUDY_ALARM"], " ",
		env["UNDERSTUDY_ALARM_OBJECT"], " ", arg))
	p.mu.Lock()
	p.ran = append(p.ran, line)
	exec := p.exec
	p.mu.Unlock()
	if exec != nil {
		return exec(id, arg)
	}
	return Result{}
}

// tellAll tells every node that is not cut off what holds now. p.mu is held.
func (p *pair) tellAll() {
	for id, e := range p.engines {
		if !p.cut[id] && !p.blind[id] {
			e.Applied(p.table, Role{Primary: p.primary, Synced: true})
		}
	}
}

func (p *pair) move(to supervisor.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.primary = to
	p.tellAll()
}

func (p *pair) cutOff(cut bool, ids ...supervisor.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.cut[id] = cut
	}
	p.tellAll()
}

type proposer struct {
	p  *pair
	id supervisor.NodeID
}

func (q proposer) Propose(e supervisor.AlarmEntry, done func(error)) {
	go func() {
		time.Sleep(5 * time.Millisecond)
		done(q.commit(e))
	}()
}

func (q proposer) commit(e supervisor.AlarmEntry) error {
	p := q.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.cut[q.id] {
		return errUnknown
	}
	next, err := p.table.Apply(e)
	if err != nil {
		return err
	}
	p.table = next
	p.log = append(p.log, e)
	p.tellAll()
	if p.lie != nil {
		return p.lie(e)
	}
	return nil
}

func (p *pair) wantRan(want ...string) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.ran, want) {
		p.t.Errorf("reactions:\n%s\nwant:\n%s", strings.Join(p.ran, "\n"), strings.Join(want, "\n"))
	}
}

// ops lists what was committed, in short.
func (p *pair) ops() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, e := range p.log {
		list = append(list, fmt.Sprint(e.Node, ":", e.Op))
	}
	return strings.Join(list, " ")
}

func (p *pair) wantOps(want string) {
	p.t.Helper()
	synctest.Wait()
	if got := p.ops(); got != want {
		p.t.Errorf("log: %s\nwant: %s", got, want)
	}
}

func settle() { time.Sleep(time.Second); synctest.Wait() }

func (p *pair) now() supervisor.Alarms {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table
}

func (p *pair) committed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

func (p *pair) proposals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}
