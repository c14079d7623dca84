package registrar

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func fakeRPC(t *testing.T) (*net.UnixConn, *kamailioRPC) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	c, err := newKamailioRPC(path, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return server, c
}

type rpcQuestion struct {
	ID     uint64 `json:"id"`
	Params []int  `json:"params"`
	from   net.Addr
}

func question(t *testing.T, server *net.UnixConn) rpcQuestion {
	buffer := make([]byte, 1000)
	n, from, err := server.ReadFrom(buffer)
	q := rpcQuestion{from: from}
	if err == nil {
		err = json.Unmarshal(buffer[:n], &q)
	}
	if err != nil {
		t.Error(err)
	}
	return q
}

// No more than eight questions are under way, their answers may come in any order, and one to an earlier question is left out.
func TestKamailioRPC_window(t *testing.T) {
	server, c := fakeRPC(t)
	const rounds = 4
	var callers sync.WaitGroup
	for i := range rounds * rpcWindow {
		callers.Go(func() {
			var got int
			if err := c.call(t.Context(), &got, "echo", i); err != nil || got != i {
				t.Errorf("got %d, %v, want %d", got, err, i)
			}
		})
	}
	for range rounds {
		var questions []rpcQuestion
		for range rpcWindow {
			questions = append(questions, question(t, server))
		}
		_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, _, err := server.ReadFrom(make([]byte, 1000)); err == nil {
			t.Errorf("a question more, of %d octets", n)
		}
		_ = server.SetReadDeadline(time.Time{})
		for i := range questions {
			q := questions[len(questions)-1-i]
			for _, answer := range []string{
				"{", fmt.Sprintf(`{"id":%d,"result":-1}`, q.ID+1000), fmt.Sprintf(`{"id":%d,"result":%d}`, q.ID, q.Params[0]),
			} {
				if _, err := server.WriteTo([]byte(answer), q.from); err != nil {
					t.Error(err)
				}
			}
		}
	}
	callers.Wait()
}

// A full queue, which others may have filled, is waited for. Nobody but the server can answer.
func TestKamailioRPC_queueFull(t *testing.T) {
	server, c := fakeRPC(t)
	var others []net.Conn
	for range 11 { // net.unix.max_dgram_qlen is 10, and one more gets in
		conn, err := net.DialUnix("unixgram", nil, server.LocalAddr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, _ = conn.Write([]byte(`{"id":0}`))
		others = append(others, conn)
	}
	done := make(chan error, 1)
	go func() { done <- c.call(t.Context(), nil, "echo", 1) }()
	select {
	case err := <-done:
		t.Fatalf("got %v from a server that does not read", err)
	case <-time.After(50 * time.Millisecond):
	}
	for {
		q := question(t, server)
		if q.ID == 0 {
			continue
		}
		stranger, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "@understudy-test-stranger"})
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if _, err := stranger.WriteTo([]byte(fmt.Sprintf(`{"id":%d,"result":1}`, q.ID)), q.from); err == nil {
			t.Error("a stranger may answer")
		}
		_, _ = server.WriteTo([]byte(fmt.Sprintf(`{"id":%d,"error":{"code":500,"message":"no\nmore"}}`, q.ID)), q.from)
		break
	}
	var no *rpcError
	if err := <-done; !errors.As(err, &no) || no.Code != 500 {
		t.Errorf("got %v", err)
	}
}

// A server that reads and says nothing is waited for as long as allowed.
func TestKamailioRPC_silent(t *testing.T) {
	_, c := fakeRPC(t)
	c.limit = 50 * time.Millisecond
	if err := c.call(t.Context(), nil, "echo"); !errors.Is(err, errNoReply) {
		t.Errorf("got %v", err)
	}
}

// The socket of the other server becomes one that this server has, or none.
func TestCounterpartOf(t *testing.T) {
	local := []string{"udp:10.0.0.2:5060", "udp:203.0.113.10:5060", "tcp:10.0.0.2:5060", "udp:[2001:db8::2]:5060"}
	translate := map[string]string{"udp:10.0.0.1:5070": "udp:203.0.113.10:5060", "udp:10.0.0.1:5080": "udp:192.0.2.1:1"}
	for socket, want := range map[string]string{
		"udp:203.0.113.10:5060": "udp:203.0.113.10:5060", "udp:10.0.0.1:5070": "udp:203.0.113.10:5060", "udp:10.0.0.1:5060": "udp:10.0.0.2:5060",
		"udp:10.0.0.1:5080": "udp:10.0.0.2:5060", "tcp:203.0.113.10:5060": "tcp:10.0.0.2:5060", "tls:203.0.113.10:5061": "",
		"udp:[2001:db8::1]:5060": "udp:[2001:db8::2]:5060", "tcp:[2001:db8::1]:5060": "",
	} {
		if got := counterpartOf(socket, translate, local); got != want {
			t.Errorf("%s: got %q, want %q", socket, got, want)
		}
	}
}
