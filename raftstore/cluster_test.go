package raftstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/understudy-sip/understudy/supervisor"
)

// patient bounds what a test waits for in real time. Nothing asserts that it is short.
const patient = time.Minute

// testTiming lets elections happen in tens of milliseconds.
func testTiming() supervisor.Timing {
	t, err := supervisor.PresetDefault.Timing()
	if err != nil {
		panic(err)
	}
	t.RaftHeartbeat, t.RaftTransport = 200*time.Millisecond, 300*time.Millisecond
	return t
}

// testPair is three nodes on loopback: a and b are members, w is the witness.
type testPair struct {
	t     testing.TB
	ca    Pair
	nodes []Node
	dir   string
	live  map[nodeID]*testNode
}

// testNode is one process of a node.
type testNode struct {
	*Store
	id     nodeID
	cancel context.CancelFunc
	done   chan error
	logs   *logBook

	mu       sync.Mutex
	messages []received
	records  []recorded
	leaders  []nodeID
	reports  []supervisor.Report
	peers    map[nodeID]bool
	clocks   map[nodeID]time.Duration
	stalls   []time.Duration
	store    []error
}

type received struct {
	from nodeID
	m    supervisor.Message
}

type recorded struct {
	r      supervisor.Record
	synced bool
}

func newTestPair(t testing.TB) *testPair {
	t.Helper()
	p := &testPair{t: t, dir: t.TempDir(), live: map[nodeID]*testNode{}}
	p.ca = must(NewCA("test", CAValidity))(t)
	for _, id := range []nodeID{"a", "b", "w"} {
		p.nodes = append(p.nodes, Node{Node: supervisor.Node{ID: id, Witness: id == "w"}, Addr: freeAddr(t)})
	}
	for _, n := range p.nodes {
		p.writeCert(n.ID, p.ca, must(Issue(p.ca, n.Node, NodeValidity))(t))
	}
	t.Cleanup(func() {
		for _, n := range p.live {
			n.stop()
		}
	})
	return p
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// freeAddr is an address whose port was free a moment ago, for TCP and UDP.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func (p *testPair) file(id nodeID, name string) string {
	return filepath.Join(p.dir, string(id), name)
}

func (p *testPair) state(id nodeID) string { return p.file(id, "state") }

func (p *testPair) writeCert(id nodeID, ca, pair Pair) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Join(p.dir, string(id)), 0o700); err != nil {
		p.t.Fatal(err)
	}
	for name, b := range map[string][]byte{"ca.pem": ca.Cert, "cert.pem": pair.Cert, "key.pem": pair.Key} {
		if err := os.WriteFile(p.file(id, name), b, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

// options are those of a new process of a node.
func (p *testPair) options(id nodeID) Options {
	var boot [8]byte
	_, _ = rand.Read(boot[:])
	return Options{
		Self: id, Boot: binary.BigEndian.Uint64(boot[:]) | 1, Cluster: "test", Version: "test", ConfigHash: "c0ffee", Nodes: p.nodes,
		Dir: p.state(id), TLS: TLSFiles{CA: p.file(id, "ca.pem"), Cert: p.file(id, "cert.pem"), Key: p.file(id, "key.pem")},
		Timing: testTiming(),
	}
}

// start starts a node; change may adjust its options.
func (p *testPair) start(id nodeID, change ...func(*Options)) *testNode {
	p.t.Helper()
	n, err := p.try(id, change...)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *testPair) try(id nodeID, change ...func(*Options)) (*testNode, error) {
	n := &testNode{id: id, done: make(chan error, 1), peers: map[nodeID]bool{}, logs: &logBook{}}
	o := p.options(id)
	n.watch(&o)
	o.Logger = newTestLogger(n.logs).Named(string(id))
	for _, c := range change {
		c(&o)
	}
	var err error
	if n.Store, err = Open(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.done <- n.Run(ctx) }()
	p.live[id] = n
	return n, nil
}

func (p *testPair) startAll() (a, b, w *testNode) {
	p.t.Helper()
	a, b, w = p.start("a"), p.start("b"), p.start("w")
	p.synced(a, b, w)
	return a, b, w
}

// stop ends a node as a crash would: nothing is handed over.
func (n *testNode) stop() {
	n.cancel()
	<-n.done
	n.done <- nil
}

func (n *testNode) watch(o *Options) {
	n.clocks = map[nodeID]time.Duration{}
	locked := func(fn func()) {
		n.mu.Lock()
		defer n.mu.Unlock()
		fn()
	}
	o.OnMessage = func(from nodeID, m supervisor.Message) {
		locked(func() { n.messages = append(n.messages, received{from, m}) })
	}
	o.OnRecord = func(r supervisor.Record, synced bool) {
		locked(func() { n.records = append(n.records, recorded{r, synced}) })
	}
	o.OnLeader = func(id nodeID) { locked(func() { n.leaders = append(n.leaders, id) }) }
	o.OnReport = func(r supervisor.Report) { locked(func() { n.reports = append(n.reports, r) }) }
	o.OnClock = func(id nodeID, ahead time.Duration) { locked(func() { n.clocks[id] = ahead }) }
	o.OnPeer = func(id nodeID, up bool) { locked(func() { n.peers[id] = up }) }
	o.OnStall = func(d time.Duration) { locked(func() { n.stalls = append(n.stalls, d) }) }
	o.OnStore = func(err error) { locked(func() { n.store = append(n.store, err) }) }
}

func (n *testNode) record() supervisor.Record { return n.Store.state.view.Load().record }

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyf(t, func() string { return what }, ok)
}

// eventuallyf is eventually with a text that is made when it is needed.
func eventuallyf(t testing.TB, what func() string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patient, what())
}

func (p *testPair) synced(nodes ...*testNode) {
	p.t.Helper()
	for _, n := range nodes {
		eventuallyf(p.t, func() string { return fmt.Sprintf("%s is synced: %+v", n.id, n.Status()) }, func() bool { return n.Status().Synced })
	}
}

// leader waits until all given nodes agree on one.
func (p *testPair) leader(nodes ...*testNode) *testNode {
	p.t.Helper()
	var led *testNode
	eventually(p.t, "a leader", func() bool {
		id := nodes[0].Status().Leader
		led = p.live[id]
		for _, n := range nodes {
			if n.Status().Leader != id {
				return false
			}
		}
		return id != "" && led != nil && led.Status().State == "leader"
	})
	return led
}

func (p *testPair) others(id nodeID) []*testNode {
	var out []*testNode
	for _, n := range p.nodes {
		if n.ID != id {
			out = append(out, p.live[n.ID])
		}
	}
	return out
}

func roleEntry(epoch supervisor.Epoch, to nodeID) supervisor.Entry {
	return supervisor.Entry{Role: &supervisor.RoleEntry{
		Epoch: epoch, To: to, At: time.Unix(int64(epoch), 0).UTC(), Trigger: supervisor.TriggerOperator, Reason: "test", By: "test",
	}}
}

// propose retries until the entry is committed: elections take their time.
func (n *testNode) propose(t testing.TB, e supervisor.Entry) {
	t.Helper()
	var last error
	eventually(t, "entry committed", func() bool {
		last = n.Propose(context.Background(), e)
		if e.Role != nil && n.record().Epoch >= e.Role.Epoch {
			return true // an attempt of unknown outcome was committed
		}
		return last == nil
	})
}

func (p *testPair) agree(epoch supervisor.Epoch, nodes ...*testNode) {
	p.t.Helper()
	for _, n := range nodes {
		what := func() string {
			return fmt.Sprintf("%s knows epoch %d: it is at %d, %+v", n.id, epoch, n.record().Epoch, n.Status())
		}
		eventuallyf(p.t, what, func() bool { return n.record().Epoch == epoch })
	}
}

// advance commits one more entry at n, whatever has been committed meanwhile, and gives the epoch on which all nodes agree.
func (p *testPair) advance(n *testNode, nodes ...*testNode) supervisor.Epoch {
	p.t.Helper()
	eventually(p.t, "one more entry is committed", func() bool {
		return n.Propose(context.Background(), roleEntry(n.record().Epoch+1, "a")) == nil
	})
	var epoch supervisor.Epoch
	eventually(p.t, "all nodes agree", func() bool {
		epoch = nodes[0].record().Epoch
		for _, n := range nodes {
			if n.record().Epoch != epoch || epoch == 0 {
				return false
			}
		}
		return true
	})
	return epoch
}

// logBook collects log lines.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBook) core() zapcore.Core {
	return zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(b), zap.InfoLevel)
}

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, string(line))
	if os.Getenv("SHOW_LOGS") != "" {
		os.Stderr.Write(line)
	}
	return len(line), nil
}

func (b *logBook) find(match func(string) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.lines, match)
}

// blockCallers makes a node turn away new TCP connections from this host, as if it had too many callers.
func (n *testNode) blockCallers(block bool) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if block {
		n.net.greet["127.0.0.1"] += greetPerHost
	} else {
		n.net.greet["127.0.0.1"] -= greetPerHost
	}
}

func newTestLogger(b *logBook) *zap.Logger { return zap.New(b.core()) }
