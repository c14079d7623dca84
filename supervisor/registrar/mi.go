package registrar

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// miWindow is how many questions may be under way: a unix datagram socket has room for 10 (net.unix.max_dgram_qlen).
const miWindow = 8

// miRepeat is when a question is asked once more: a datagram may be lost, and every question may be asked twice.
const miRepeat = time.Second

// miLimit is the longest datagram that mi_datagram sends (modules/mi_datagram: 65457 octets).
const miLimit = 64 << 10

// miError is an answer of OpenSIPS that says no.
type miError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *miError) Error() string { return fmt.Sprintf("answered %d %s", e.Code, printable(e.Message)) }

const (
	miNotFound = 404    // the server's own: no such table, AOR or Contact
	miNoMethod = -32601 // of JSON-RPC
)

// errMI reports an answer that is none.
var errMI = errors.New("no JSON-RPC answer")

// miClient asks OpenSIPS by its management interface over datagrams, with JSON-RPC 2.0. Each question has a socket to itself, and
// nobody but the one who asks reads from it: there is no goroutine to stop.
type miClient struct {
	network string // "unix" or "udp"
	server  string
	limit   time.Duration
	window  chan struct{}
	older   atomic.Bool // the server knows the names of before version 4 only

	idle idle[net.PacketConn]
}

func newMIClient(address string, limit time.Duration) (*miClient, error) {
	network, server, err := datagramAddress(address)
	if err != nil {
		return nil, err
	}
	return &miClient{network: network, server: server, limit: limit, window: make(chan struct{}, miWindow)}, nil
}

// datagramAddress takes "unix:/run/x.sock" or "udp:127.0.0.1:8080" apart.
func datagramAddress(address string) (network, server string, err error) {
	network, server, _ = strings.Cut(address, ":")
	switch network {
	case "unix":
		if !filepath.IsAbs(server) {
			return "", "", fmt.Errorf("%q: give the socket's absolute path", address)
		}
	case "udp":
		if _, err := netip.ParseAddrPort(server); err != nil {
			return "", "", fmt.Errorf("%q: %w", address, err)
		}
	default:
		return "", "", fmt.Errorf("%q: neither unix:/path nor udp:address:port", address)
	}
	return network, server, nil
}

// miMethod is a method by its name, and by its name before version 4.
type miMethod struct{ name, older string }

// call asks and puts the result into result. The name that the server knows is remembered.
func (c *miClient) call(ctx context.Context, m miMethod, params, result any) error {
	older := c.older.Load()
	names := [2]string{m.name, m.older}
	if older {
		names = [2]string{m.older, m.name}
	}
	err := c.ask(ctx, names[0], params, result)
	var no *miError
	if !errors.As(err, &no) || no.Code != miNoMethod || names[0] == names[1] {
		return err
	}
	if err = c.ask(ctx, names[1], params, result); !errors.As(err, &no) || no.Code != miNoMethod {
		c.older.Store(!older)
	}
	return err
}

func (c *miClient) ask(ctx context.Context, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	select {
	case c.window <- struct{}{}:
		defer func() { <-c.window }()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	id := hex.EncodeToString(random[:])
	request, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		ID      string `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{"2.0", id, method, params})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	conn, err := c.socket()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	data, err := c.exchange(ctx, conn, request, id)
	if stop() && err == nil {
		c.idle.keep(conn)
	} else {
		conn.Close() // its deadline may still be set by the end of ctx, or it leads nowhere
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(data, result); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// exchange gives the result of the answer with our id.
func (c *miClient) exchange(ctx context.Context, conn net.PacketConn, request []byte, id string) (json.RawMessage, error) {
	to, err := c.address()
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, miLimit)
	for {
		if _, err := conn.WriteTo(request, to); err != nil {
			return nil, err
		}
		due := time.Now().Add(miRepeat)
		for {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			_ = conn.SetReadDeadline(due)
			n, from, err := conn.ReadFrom(buffer)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				break
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if c.network == "udp" && from.String() != c.server {
				continue // the unix socket's answers have no sender: OpenSIPS sends them from a socket without a name
			}
			if data, ours, err := parseMI(buffer[:n], id); ours {
				return data, err
			}
		}
	}
}

// parseMI reads an answer; ours is false for one to another question. What the interface itself has to complain about comes as plain text
// without an id (modules/mi_datagram/datagram_fnc.h: "400 Parse_error", "500 Internal error").
func parseMI(data []byte, id string) (result json.RawMessage, ours bool, err error) {
	if len(data) > 0 && (data[0] == '4' || data[0] == '5') {
		return nil, true, fmt.Errorf("%w: %s", errMI, printable(string(data)))
	}
	var answer struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *miError        `json:"error"`
	}
	if json.Unmarshal(data, &answer) != nil || string(answer.ID) != `"`+id+`"` {
		return nil, false, nil
	}
	switch {
	case answer.Error != nil:
		return nil, true, answer.Error
	case answer.Result == nil:
		return nil, true, errMI
	}
	return answer.Result, true, nil
}

func (c *miClient) address() (net.Addr, error) {
	if c.network == "unix" {
		return &net.UnixAddr{Name: c.server, Net: "unixgram"}, nil
	}
	to, err := netip.ParseAddrPort(c.server)
	return net.UDPAddrFromAddrPort(to), err
}

// socket is one that the server can answer to. A unix socket without a name gets an abstract one from the kernel, so that there is no file
// to clean up and no folder that both must be allowed to use.
func (c *miClient) socket() (net.PacketConn, error) {
	if conn, ok := c.idle.take(); ok {
		return conn, nil
	}
	if c.network == "unix" {
		return net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	}
	to, err := netip.ParseAddrPort(c.server)
	if err != nil {
		return nil, err
	}
	local := &net.UDPAddr{}
	if to.Addr().IsLoopback() {
		local.IP = to.Addr().AsSlice() // so that nobody outside can send to it
	}
	return net.ListenUDP("udp", local)
}

// Close closes the sockets that are kept for the next question.
func (c *miClient) Close() error { return c.idle.Close() }
