package registrar

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// rpcWindow is how many questions may be under way: a unix datagram socket has room for 10 (net.unix.max_dgram_qlen), and what
	// doesn't fit into ours is lost.
	rpcWindow = 8
	// rpcLimit is longer than the longest answer, so that none is cut short: the server's socket sends up to twice what it asked for.
	rpcLimit = 128 << 10
)

// rpcError is an answer of Kamailio that says no.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("answered %d %s", e.Code, printable(e.Message)) }

var (
	errNoReply  = errors.New("no answer in time")
	errNoResult = errors.New("no JSON-RPC answer")
)

// kamailioRPC asks Kamailio over the datagram socket of jsonrpcs. Each question has a socket to itself, so that answers may come in any
// order and nobody but the one who asks reads: there is no goroutine to stop. The sockets are connected, so that the kernel drops what
// anybody else sends, and wakes us when a full queue has room again.
type kamailioRPC struct {
	network, server string
	limit           time.Duration
	window          chan struct{}
	last            atomic.Uint64 // id of a question

	idle idle[*rpcSocket]
}

type rpcSocket struct {
	net.Conn
	buffer []byte
}

func newKamailioRPC(address string, limit time.Duration) (*kamailioRPC, error) {
	c := &kamailioRPC{network: "unixgram", server: address, limit: limit, window: make(chan struct{}, rpcWindow)}
	if server, ok := strings.CutPrefix(address, "udp:"); ok {
		to, err := netip.ParseAddrPort(server)
		if err != nil || !to.Addr().IsLoopback() {
			return nil, fmt.Errorf("rpc at %q: want an address on loopback and a port", address)
		}
		c.network, c.server = "udp", server
	} else if !filepath.IsAbs(address) {
		return nil, fmt.Errorf("rpc at %q: want an absolute path or udp:address:port", address)
	}
	return c, nil
}

// call asks and puts the result into result, if there is one.
func (c *kamailioRPC) call(ctx context.Context, result any, method string, params ...any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, errNoReply)
	defer cancel()
	data, err := c.ask(ctx, method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(data, result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (c *kamailioRPC) ask(ctx context.Context, method string, params []any) (json.RawMessage, error) {
	select {
	case c.window <- struct{}{}:
		defer func() { <-c.window }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	id := c.last.Add(1)
	request, err := rpcRequest(id, method, params)
	if err != nil {
		return nil, err
	}
	for {
		conn, used, err := c.socket()
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		data, err := conn.exchange(request, id)
		var no *rpcError
		if stop() && (err == nil || errors.As(err, &no)) {
			c.idle.keep(conn)
			return data, err
		}
		conn.Close() // an answer may still come, or it leads nowhere
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, context.Cause(ctx)
		}
		if !used || err == nil || ctx.Err() != nil {
			return data, err
		} // else to a server that has restarted since: another socket
	}
}

func rpcRequest(id uint64, method string, params []any) ([]byte, error) {
	if params == nil {
		params = []any{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Version string `json:"jsonrpc"`
		ID      uint64 `json:"id"`
		Method  string `json:"method"`
		Params  []any  `json:"params"`
	}{"2.0", id, method, params})
	return b.Bytes(), err
}

// exchange gives the result of the answer with our id.
func (s *rpcSocket) exchange(request []byte, id uint64) (json.RawMessage, error) {
	if _, err := s.Write(request); err != nil {
		return nil, err
	}
	for {
		n, err := s.Read(s.buffer)
		if err != nil {
			return nil, err
		}
		if data, ours, err := parseRPC(s.buffer[:n], id); ours {
			return data, err
		}
	}
}

// parseRPC reads an answer; ours is false for one to another question.
func parseRPC(data []byte, id uint64) (result json.RawMessage, ours bool, err error) {
	var answer struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	if json.Unmarshal(data, &answer) != nil || string(answer.ID) != strconv.FormatUint(id, 10) {
		return nil, false, nil
	}
	switch {
	case answer.Error != nil:
		return nil, true, answer.Error
	case answer.Result == nil:
		return nil, true, errNoResult
	}
	return answer.Result, true, nil
}

// socket is one that the server can answer to; used says that it has served before. A unix socket has an abstract name: there is no file
// to clean up, and no folder and no mode that the server's user must be allowed to use.
func (c *kamailioRPC) socket() (s *rpcSocket, used bool, err error) {
	if s, used = c.idle.take(); used {
		return s, true, nil
	}
	var d net.Dialer
	if c.network == "unixgram" {
		var random [12]byte
		_, _ = rand.Read(random[:]) // never fails (crypto/rand)
		d.LocalAddr = &net.UnixAddr{Net: c.network, Name: "@understudy-" + hex.EncodeToString(random[:])}
	}
	conn, err := d.Dial(c.network, c.server)
	if err != nil {
		return nil, false, err
	}
	return &rpcSocket{Conn: conn, buffer: make([]byte, rpcLimit)}, false, nil
}

// Close closes the sockets that are kept for the next question.
func (c *kamailioRPC) Close() error { return c.idle.Close() }
