package registrar

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/icholy/digest"
)

// registerOptions say where and how REGISTERs are sent.
type registerOptions struct {
	Server netip.AddrPort // of the listener that trusts us, or that asks for credentials
	T1     time.Duration  // between the request and its first repetition (RFC 3261, 17.1.1.1)
	Limit  time.Duration  // for the whole transaction: T1's 64-fold is too long for a server on the same host
	Window int            // transactions at a time
}

// t2 bounds the time between repetitions (RFC 3261, 17.1.2.2).
const t2 = 4 * time.Second

const (
	answerLimit = 64 << 10
	refusals    = 2 // of a port that nobody listens at; one may be the late echo of an earlier request
)

var errWindow = errors.New("waiting for a free transaction")

// registerClient sends REGISTERs by UDP. Each transaction has a connected socket to itself, so that the kernel drops what comes from
// elsewhere, and nobody but the one who waits reads from it: there is no goroutine to stop. Sockets are kept for the next transaction.
type registerClient struct {
	options registerOptions
	window  chan struct{}

	idle idle[*net.UDPConn]

	challenges challenges
}

func newRegisterClient(o registerOptions) *registerClient {
	return &registerClient{options: o, window: make(chan struct{}, o.Window)}
}

// answer is what became of a REGISTER.
type answer struct {
	code    int
	reason  string
	granted time.Duration // the expiry of the Contact in question; -1 if the answer does not name it
}

func (a answer) ok() bool { return a.code/100 == 2 }

func (a answer) err() error {
	if a.ok() {
		return nil
	}
	return fmt.Errorf("answered %d %s", a.code, a.reason)
}

// do sends the REGISTER and gives its final answer, whatever it says. Credentials are shown when the server asks for them.
func (c *registerClient) do(ctx context.Context, r registration) (answer, error) {
	select {
	case c.window <- struct{}{}:
		defer func() { <-c.window }()
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%w: %w", errWindow, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Limit)
	defer cancel()
	if r.username == "" {
		m, err := c.exchange(ctx, r, "")
		return m.answer(r), err
	}
	return c.authenticated(ctx, r)
}

// authenticated sends the REGISTER with credentials: those of the last challenge first, else with the one that its rejection brings. A
// request that is sure to be rejected has the number before, so that the one that counts has the phone's own (RFC 3261, 22.2).
func (c *registerClient) authenticated(ctx context.Context, r registration) (answer, error) {
	first := r
	credentials := c.challenges.answer(r)
	if credentials == "" && first.binding.CSeq > 1 {
		first.binding.CSeq--
	}
	m, err := c.exchange(ctx, first, credentials)
	if err != nil || (m.code != 401 && m.code != 407) {
		return m.answer(r), err
	}
	if err := c.challenges.take(m); err != nil {
		return answer{}, err
	}
	if credentials = c.challenges.answer(r); credentials == "" {
		return m.answer(r), nil
	}
	m, err = c.exchange(ctx, r, credentials)
	return m.answer(r), err
}

// exchange is one transaction (RFC 3261, 17.1.2).
func (c *registerClient) exchange(ctx context.Context, r registration, credentials string) (message, error) {
	conn, err := c.socket()
	if err != nil {
		return message{}, err
	}
	branch := newBranch()
	request, err := r.octets(conn.LocalAddr().(*net.UDPAddr).AddrPort(), branch, credentials)
	if err != nil {
		c.idle.keep(conn)
		return message{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	m, err := c.wait(ctx, conn, request, branch)
	if stop() {
		c.idle.keep(conn)
	} else {
		conn.Close() // its deadline may still be set by the end of ctx
	}
	if err != nil {
		return message{}, fmt.Errorf("register at %s: %w", c.options.Server, err)
	}
	return m, nil
}

func (c *registerClient) wait(ctx context.Context, conn *net.UDPConn, request []byte, branch string) (message, error) {
	buffer := make([]byte, answerLimit)
	refused, interval := 0, c.options.T1
	for {
		if err := c.send(conn, request, &refused); err != nil {
			return message{}, err
		}
		due := time.Now().Add(interval)
		for {
			if err := ctx.Err(); err != nil {
				return message{}, err
			}
			_ = conn.SetReadDeadline(due)
			n, err := conn.Read(buffer)
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
			case errors.Is(err, syscall.ECONNREFUSED):
				if refused++; refused >= refusals {
					return message{}, err
				}
				continue
			case err != nil:
				return message{}, err
			default:
				m, ok := parseMessage(buffer[:n])
				if !ok || m.branch != branch {
					continue // late, or forged by someone who can't see our branch
				}
				if m.code >= 200 {
					return m, nil
				}
				interval = t2 // it has arrived
				continue
			}
			break
		}
		interval = min(2*interval, t2)
	}
}

func (c *registerClient) send(conn *net.UDPConn, request []byte, refused *int) error {
	_, err := conn.Write(request)
	if errors.Is(err, syscall.ECONNREFUSED) { // of what was sent before
		if *refused++; *refused >= refusals {
			return err
		}
		_, err = conn.Write(request)
	}
	return err
}

func (c *registerClient) socket() (*net.UDPConn, error) {
	if conn, ok := c.idle.take(); ok {
		return conn, nil
	}
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.options.Server))
}

// Close closes the sockets that are kept for the next transaction.
func (c *registerClient) Close() error { return c.idle.Close() }

// challenges keeps the last challenge, so that a request needs no rejection first.
type challenges struct {
	mu     sync.Mutex
	last   *digest.Challenge
	header string // in which the credentials go
	count  int
}

func (c *challenges) take(m message) error {
	if m.challenge == "" {
		return fmt.Errorf("answered %d without a challenge", m.code)
	}
	challenge, err := digest.ParseChallenge(m.challenge)
	if err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	header := "Authorization"
	if m.code == 407 {
		header = "Proxy-Authorization"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.header, c.count = challenge, header, 0
	return nil
}

// answer is the header with the credentials; empty if there is no challenge, or none that can be answered.
func (c *challenges) answer(r registration) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || !digest.CanDigest(c.last) || !plain(c.last.Realm+c.last.Nonce+c.last.Opaque) {
		return ""
	}
	c.count++
	credentials, err := digest.Digest(c.last, digest.Options{
		Method: "REGISTER", URI: r.uri(), Username: r.username, Password: r.password, Count: c.count,
	})
	if err != nil {
		return ""
	}
	return c.header + ": " + credentials.String() + "\r\n"
}

// newBranch is an unguessable branch (RFC 3261, 8.1.1.7): only who has seen the request can answer it.
func newBranch() string {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return "z9hG4bK" + hex.EncodeToString(random[:])
}
