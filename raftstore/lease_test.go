package raftstore

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

func testKey(t testing.TB) leaseKey {
	t.Helper()
	material := make([]byte, keyMaterial)
	_, _ = rand.Read(material)
	return must(newLeaseKey(material))(t)
}

var testMessage = supervisor.Message{Kind: supervisor.KindAck, Epoch: 12, Seq: 345, Wait: 678 * time.Millisecond}

// A datagram opens once, with its own key, unchanged in every bit.
func TestSeal_openOnce(t *testing.T) {
	key := testKey(t)
	s, o := &sealer{leaseKey: key}, &opener{leaseKey: key}
	packet := bytes.Clone(s.seal(testMessage))
	if len(packet) != leaseSize {
		t.Fatalf("%d octets, want %d", len(packet), leaseSize)
	}
	for bit := range len(packet) * 8 {
		bad := bytes.Clone(packet)
		bad[bit/8] ^= 1 << (bit % 8)
		if bit >= 32 { // the key's id finds the key; it is compared by its user
			if m, err := o.open(bad); err == nil {
				t.Fatalf("bit %d flipped: opened as %+v", bit, m)
			}
		}
	}
	if got, err := o.open(packet); err != nil || got != testMessage {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := o.open(packet); !errors.Is(err, errLeaseReplay) {
		t.Errorf("again: got %v, want %v", err, errLeaseReplay)
	}
	if _, err := (&opener{leaseKey: testKey(t)}).open(packet); !errors.Is(err, errLeaseForged) {
		t.Errorf("other key: got %v, want %v", err, errLeaseForged)
	}
}

// The window takes each of the newest counters once, in any order, and nothing older.
func TestWindow(t *testing.T) {
	var w window
	take := func(n uint64) bool {
		if !w.fresh(n) {
			return false
		}
		w.mark(n)
		return true
	}
	if take(0) {
		t.Error("counter 0 is never sent")
	}
	for _, n := range []uint64{1, 3, 2, 700, 699, 64, 65, 63} {
		if !take(n) || take(n) {
			t.Errorf("%d: not taken exactly once", n)
		}
	}
	seen := map[uint64]bool{} // against a plain set
	w = window{}
	x := uint64(88172645463325252)
	for base := uint64(1); base < 20000; base += 7 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		n := base + x%800
		want := !seen[n] && (n > w.newest || w.newest-n < windowSize-64)
		if got := take(n); got != want {
			t.Fatalf("counter %d, newest %d: got %v, want %v", n, w.newest, got, want)
		}
		seen[n] = true
	}
	if w = (window{}); !take(1<<40) || take(5) || !take(1<<40-1) {
		t.Error("a big step is not taken right")
	}
}

func FuzzLeaseDeliver(f *testing.F) {
	key := testKey(f)
	s := &sealer{leaseKey: key}
	f.Add(bytes.Clone(s.seal(testMessage)))
	f.Add([]byte{})
	f.Add(make([]byte, leaseSize))
	f.Fuzz(func(t *testing.T, packet []byte) {
		l := &leaseSocket{onMessage: func(supervisor.NodeID, supervisor.Message) {}}
		l.openers.Store(&map[uint32]*peerOpener{})
		l.listen("b", key)
		before := len(packet)
		l.deliver(packet)
		if c := l.count.read(); c.Received+c.Malformed+c.UnknownKey+c.Forged+c.Replayed != 1 || len(packet) != before {
			t.Errorf("counted %+v", c)
		}
	})
}

func FuzzFrame(f *testing.F) {
	b, _ := encodeFrame(frame{Request: &request{ID: 1, Sync: true}})
	f.Add(b)
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = readFrame(bytes.NewReader(b)) // must return, and allocate no more than maxFrame
	})
}

// Both ends of a TLS session derive the same keys, one per direction.
func TestExportKeys(t *testing.T) {
	p := newTestPair(t)
	c := must((&credentials{files: p.options("a").TLS}).load())(t)
	s := must((&credentials{files: p.options("b").TLS}).load())(t)
	x, y := net.Pipe()
	client, server := tls.Client(x, c.config(alpnControl)), tls.Server(y, s.config(alpnControl))
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	cSend, cReceive, err := exportKeys(client.ConnectionState(), true)
	if err != nil {
		t.Fatal(err)
	}
	sSend, sReceive, err := exportKeys(server.ConnectionState(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct{ from, to, wrong leaseKey }{{cSend, sReceive, cReceive}, {sSend, cReceive, sReceive}} {
		packet := bytes.Clone((&sealer{leaseKey: k.from}).seal(testMessage))
		if got, err := (&opener{leaseKey: k.to}).open(packet); err != nil || got != testMessage {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := (&opener{leaseKey: k.wrong}).open(packet); err == nil {
			t.Error("both directions have one key")
		}
	}
}

// The keys of an older session stay valid until a newer one was used, and sessions that came to nothing don't push them out.
func TestLeaseSocket_keysOverlap(t *testing.T) {
	var got []uint64
	l := &leaseSocket{onMessage: func(_ supervisor.NodeID, m supervisor.Message) { got = append(got, m.Seq) }}
	l.openers.Store(&map[uint32]*peerOpener{})
	old := testKey(t)
	l.listen("b", old)
	sender := &sealer{leaseKey: old}
	deliver := func(s *sealer, seq uint64) {
		l.deliver(bytes.Clone(s.seal(supervisor.Message{Kind: supervisor.KindAck, Seq: seq})))
	}
	deliver(sender, 1)
	var newest *sealer
	for range 10 {
		key := testKey(t)
		l.listen("b", key)
		newest = &sealer{leaseKey: key}
	}
	l.listen("w", testKey(t))
	deliver(sender, 2)
	deliver(newest, 3)
	deliver(sender, 4) // retired
	deliver(newest, 5)
	if want := []uint64{1, 2, 3, 5}; len(got) != len(want) || got[1] != 2 || got[3] != 5 {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(*l.openers.Load()); n != 2 {
		t.Errorf("%d keys are left, want one per node", n)
	}
	if c := l.count.read(); c.UnknownKey != 1 {
		t.Errorf("counted %+v", c)
	}
}

// Replayed, forged and foreign datagrams on the wire are counted and reach nobody.
func TestLease_attacks(t *testing.T) {
	p := newTestPair(t)
	a, b, _ := p.startAll()
	eventually(t, "a message arrives", func() bool { a.Send("b", testMessage); return b.Status().Lease.Received > 0 })
	eventually(t, "all of them arrive", func() bool { return b.Status().Lease.Received == a.Status().Lease.Sent })
	sender := a.net.peers["b"].lease
	sender.mu.Lock()
	packet := bytes.Clone(sender.seal.packet[:])
	sender.mu.Unlock()
	attacker := must(net.Dial("udp", p.nodes[1].Addr))(t)
	defer attacker.Close()
	before := b.Status().Lease
	forged, foreign := bytes.Clone(packet), bytes.Clone(packet)
	forged[leaseHeader-1]++ // another counter
	forged[leaseHeader-2]++
	foreign[0]++ // another key
	for _, bad := range [][]byte{packet, forged, foreign, {}, make([]byte, 1500)} {
		if _, err := attacker.Write(bad); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are counted", func() bool {
		now := b.Status().Lease
		return now.Replayed == before.Replayed+1 && now.Forged == before.Forged+1 && now.UnknownKey == before.UnknownKey+1 && now.Malformed == before.Malformed+2
	})
	if got := b.Status().Lease.Received; got != before.Received {
		t.Errorf("%d messages were believed", got-before.Received)
	}
}

// Lease messages go on while there is no control stream.
func TestLease_survivesControlStream(t *testing.T) {
	p := newTestPair(t)
	a, b, _ := p.startAll()
	eventually(t, "a message arrives", func() bool { a.Send("b", testMessage); return b.Status().Lease.Received > 0 })
	b.blockCallers(true)
	a.net.peers["b"].closeSession()
	eventually(t, "the stream is down", func() bool { return !a.Status().Peers["b"].Up && !b.Status().Peers["a"].Up })
	eventually(t, "all of them arrive", func() bool { return b.Status().Lease.Received == a.Status().Lease.Sent })
	for _, way := range []struct{ from, to *testNode }{{a, b}, {b, a}} {
		before := way.to.Status().Lease.Received
		for i := range uint64(100) {
			way.from.Send(way.to.id, testMessage)
			eventually(t, "messages go on", func() bool { return way.to.Status().Lease.Received == before+i+1 })
		}
	}
	if a.Status().Peers["b"].Up {
		t.Error("the stream came back: the test does not test")
	}
	b.blockCallers(false)
	eventually(t, "the stream is back", func() bool { return a.Status().Peers["b"].Up && b.Status().Peers["a"].Up })
	for _, way := range []struct{ from, to *testNode }{{a, b}, {b, a}} {
		before := way.to.Status().Lease.Received
		way.from.Send(way.to.id, testMessage)
		eventually(t, "messages go on under the new keys", func() bool { return way.to.Status().Lease.Received == before+1 })
	}
}
