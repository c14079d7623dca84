package raftstore

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/understudy-sip/understudy/supervisor"
)

// Members open streams to each other; a witness gets none, nor does anybody from a member that keeps no registrations.
func TestMember_streams(t *testing.T) {
	p := newTestPair(t)
	from := make(chan supervisor.NodeID, 1)
	echo := func(_ context.Context, who supervisor.NodeID, conn net.Conn) {
		from <- who
		_, _ = io.Copy(conn, conn)
	}
	a := p.start("a")
	b := p.start("b", func(o *Options) { o.OnStream = echo })
	w := p.start("w")
	p.synced(a, b, w)

	var conn net.Conn
	eventually(t, "the stream opens", func() bool {
		var err error
		conn, err = a.DialMember(t.Context(), "b")
		return err == nil
	})
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if who := <-from; who != "a" {
		t.Errorf("the stream is from %s", who)
	}
	for _, n := range []*testNode{w, b} {
		to := supervisor.NodeID("b")
		if n == b {
			to = "a"
		}
		if _, err := n.DialMember(t.Context(), to); err == nil || !strings.Contains(err.Error(), "between members") {
			t.Errorf("%s to %s: got %v", n.id, to, err)
		}
	}
	if _, err := a.DialMember(t.Context(), "nobody"); err == nil {
		t.Error("a stream to nobody")
	}
}
