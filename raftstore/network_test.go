package raftstore

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// says reports whether a node's log has a line with all parts.
func (n *testNode) says(parts ...string) bool {
	return n.logs.find(func(line string) bool {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				return false
			}
		}
		return true
	})
}

// impostor is a node that isn't in the pair's good graces: it has the pair's configuration, but for what change says, and a port and
// folder of its own.
func (p *testPair) impostor(t *testing.T, id nodeID, change func(*Options)) *testNode {
	t.Helper()
	kept, existed := p.live[id]
	n := p.start(id, func(o *Options) {
		o.Listen, o.Dir = freeAddr(t), t.TempDir()
		change(o)
	})
	if existed {
		p.live[id] = kept
	}
	t.Cleanup(n.stop)
	return n
}

// withIdentity gives an impostor a certificate of its own.
func (p *testPair) withIdentity(t *testing.T, o *Options, ca Pair, node supervisor.Node) {
	t.Helper()
	dir := "own-" + string(node.ID)
	p.writeCert(nodeID(dir), ca, must(Issue(ca, node, NodeValidity))(t))
	o.TLS = TLSFiles{CA: p.file(nodeID(dir), "ca.pem"), Cert: p.file(nodeID(dir), "cert.pem"), Key: p.file(nodeID(dir), "key.pem")}
}

// A witness's certificate is no member's: the node that has it is refused, and both sides say what is wrong.
func TestNetwork_witnessCertificateAsMember(t *testing.T) {
	p := newTestPair(t)
	b, w := p.start("b"), p.start("w")
	a := p.impostor(t, "a", func(o *Options) {
		// It takes itself for a witness, else it would not even start.
		p.withIdentity(t, o, p.ca, supervisor.Node{ID: "a", Witness: true})
		o.Nodes = append([]Node{{Node: supervisor.Node{ID: "a", Witness: true}, Addr: p.nodes[0].Addr}}, p.nodes[1:]...)
	})
	const why = `is a witness's, the configuration has \"a\" as member`
	for _, n := range []*testNode{b, w} {
		eventually(t, "the acceptor says why", func() bool { return n.says("caller refused", why) })
		eventually(t, "the dialer says why", func() bool { return a.says("peer not reached", `"peer":"`+string(n.id)+`"`, why) })
	}
	if st := b.Status().Peers["a"]; st.Up {
		t.Error("b has a stream to it")
	}
}

// Nodes of another cluster with the same CA are refused with both names.
func TestNetwork_otherCluster(t *testing.T) {
	p := newTestPair(t)
	b := p.start("b")
	other := must(NewCA("prod", CAValidity))(t)
	both := Pair{Cert: append(append([]byte{}, p.ca.Cert...), other.Cert...), Key: other.Key}
	p.writeCert("b", both, must(Issue(p.ca, p.nodes[1].Node, NodeValidity))(t)) // b trusts both CAs
	a := p.impostor(t, "a", func(o *Options) {
		p.withIdentity(t, o, other, supervisor.Node{ID: "a"})
		o.Cluster = "prod"
		p.writeCert("own-a", Pair{Cert: both.Cert}, must(Issue(other, supervisor.Node{ID: "a"}, NodeValidity))(t))
	})
	eventually(t, "the acceptor says why", func() bool {
		return b.says("caller refused", `is of cluster \"prod\", this is cluster \"test\"`) || b.says("caller refused", `is of cluster \"test\", this is cluster \"prod\"`)
	})
	eventually(t, "the dialer says why", func() bool {
		return a.says("peer not reached", `is of cluster \"test\", this is cluster \"prod\"`)
	})
}

// With another CA both sides say so.
func TestNetwork_otherCA(t *testing.T) {
	p := newTestPair(t)
	b := p.start("b")
	stranger := must(NewCA("test", CAValidity))(t)
	a := p.impostor(t, "a", func(o *Options) { p.withIdentity(t, o, stranger, supervisor.Node{ID: "a"}) })
	eventually(t, "the dialer says why", func() bool { return a.says("peer not reached", "was not signed by this node's CA") })
	eventually(t, "the acceptor says why", func() bool { return b.says("caller refused", "refused this node's certificate") })
}

// Of two nodes with one name the second is refused with both addresses, and the first doesn't notice.
func TestNetwork_twoNodesWithOneName(t *testing.T) {
	p := newTestPair(t)
	a, b, w := p.startAll()
	first := b.Status().Peers["a"]
	twin := p.impostor(t, "a", func(*Options) {})
	for _, n := range []*testNode{b, w} {
		eventually(t, "the acceptor says why", func() bool {
			return n.says("caller refused", `two nodes are named \"a\"`, n.Status().Peers["a"].Addr)
		})
		eventually(t, "the twin says why", func() bool {
			return twin.says("peer not reached", `"peer":"`+string(n.id)+`"`, `two nodes are named \"a\"`, "stop the second")
		})
	}
	if got := b.Status().Peers["a"]; got.Addr != first.Addr || got.Since != first.Since {
		t.Errorf("the first was disturbed: %+v, was %+v", got, first)
	}
	before := b.Status().Lease.Received
	a.Send("b", testMessage)
	eventually(t, "the first's messages arrive", func() bool { return b.Status().Lease.Received > before })
	if _, err := twin.net.peers["b"].dialRun(context.Background(), alpnRaft, time.Second); err == nil || !strings.Contains(err.Error(), "control stream") {
		t.Errorf("a Raft stream of the twin: got %v", err)
	}
	a.propose(t, roleEntry(1, "a"))
	p.agree(1, a, b, w)
	if st := twin.Status(); st.Synced || st.State != "stopped" {
		t.Errorf("the twin is %+v", st)
	}
}

// A stream that goes silent doesn't keep a restarted node out.
func TestNetwork_silentStreamIsProbed(t *testing.T) {
	p := newTestPair(t)
	b := p.start("b", func(o *Options) { o.Timing.ReportStale = time.Minute })
	silent := p.dialAs(t, "a", 77, p.nodes[1].Addr)
	defer silent.Close()
	eventually(t, "the silent one is in", func() bool { return b.Status().Peers["a"].Boot == 77 })
	start := time.Now()
	p.start("a")
	eventually(t, "the new one is in", func() bool { st := b.Status().Peers["a"]; return st.Up && st.Boot != 77 })
	t.Logf("after %v", time.Since(start))
}

// dialAs opens a control stream by hand, up to the point where it counts.
func (p *testPair) dialAs(t *testing.T, id nodeID, boot uint64, addr string) *tls.Conn {
	t.Helper()
	l := must((&credentials{files: p.options(id).TLS}).load())(t)
	conn := tls.Client(must(net.Dial("tcp", addr))(t), l.config(alpnControl))
	if err := writeFrame(conn, frame{Hello: &hello{Cluster: "test", Node: id, Boot: boot, Protocol: protocol}}); err != nil {
		t.Fatal(err)
	}
	if _, err := expectHello(conn); err != nil {
		t.Fatal(err)
	}
	if err := writeFrame(conn, frame{Ready: true}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// What a caller may get wrong is refused with words, and never more than a stream is lost.
func TestNetwork_badCallers(t *testing.T) {
	p := newTestPair(t)
	b := p.start("b")
	l := must((&credentials{files: p.options("a").TLS}).load())(t)
	good := hello{Cluster: "test", Node: "a", Boot: 5, Protocol: protocol, Version: "9.9"}
	for _, tt := range []struct {
		name string
		h    hello
		says string
	}{
		{"other protocol", hello{Cluster: "test", Node: "a", Boot: 5, Protocol: 2, Version: "9.9"}, "run the same version on all nodes"},
		{"other name than its certificate", hello{Cluster: "test", Node: "w", Boot: 5, Protocol: protocol}, "its certificate says"},
		{"no boot number", hello{Cluster: "test", Node: "a", Protocol: protocol}, "boot number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := tls.Client(must(net.Dial("tcp", p.nodes[1].Addr))(t), l.config(alpnControl))
			defer conn.Close()
			if err := writeFrame(conn, frame{Hello: &tt.h}); err != nil {
				t.Fatal(err)
			}
			if _, err := expectHello(conn); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
		})
	}
	t.Run("no purpose", func(t *testing.T) {
		conn := tls.Client(must(net.Dial("tcp", p.nodes[1].Addr))(t), l.config("h2"))
		defer conn.Close()
		if err := conn.Handshake(); err == nil {
			t.Error("was let in")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		conn := must(net.Dial("tcp", p.nodes[1].Addr))(t)
		defer conn.Close()
		_, _ = conn.Write([]byte("OPTIONS sip:b SIP/2.0\r\n\r\n"))
		eventually(t, "it is noted", func() bool { return b.says("caller refused", "127.0.0.1") })
	})
	t.Run("too long a message", func(t *testing.T) {
		conn := p.dialAs(t, "a", good.Boot, p.nodes[1].Addr)
		defer conn.Close()
		_, _ = conn.Write([]byte{0xff, 0, 0, 0})
		eventually(t, "the stream ends", func() bool { return b.says("peer disconnected", "malformed message") })
	})
}

// A clock that was read half a round trip ago has gone on since.
func TestClockAhead(t *testing.T) {
	for _, c := range []struct {
		theirs, now, rtt int64
		want             time.Duration
	}{{1000, 1005, 10, 0}, {1500, 1005, 10, 500}, {500, 1005, 10, -500}} {
		if got := clockAhead(c.theirs, c.now, c.rtt); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// Peers see each other's version and configuration, and a round-trip time.
func TestNetwork_status(t *testing.T) {
	p := newTestPair(t)
	a, b, _ := p.startAll()
	eventually(t, "the stream is measured", func() bool { return a.Status().Peers["b"].RTT > 0 && b.Status().Peers["a"].RTT > 0 })
	st := a.Status().Peers["b"]
	if st.Version != "test" || st.ConfigHash != "c0ffee" || st.Boot == 0 {
		t.Errorf("got %+v", st)
	}
	eventually(t, "the clocks are compared", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		ahead, known := a.clocks["b"]
		return known && ahead.Abs() < 10*time.Second // of one host
	})
	b.stop()
	eventually(t, "b is reported as away", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.peers["b"] })
}
