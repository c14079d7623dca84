package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// AskInterval is how often the client asks the service address.
const AskInterval = 2 * time.Millisecond

// memory is how long the client and the observer remember.
const memory = 5 * time.Minute

// Client asks the service address, by OPTIONS unless a fault concerns these, once in AskInterval, each time with a Call-ID and branch of its own and without
// retransmission, and remembers when each request was sent, when it was answered and by whom.
type Client struct {
	conn   *net.UDPConn
	method atomic.Value // string
	paused atomic.Bool
	stop   atomic.Bool
	wg     sync.WaitGroup

	mu    sync.Mutex
	asks  []Ask  // in the order of sending
	first uint64 // serial of asks[0]
}

// startClient starts the client at host c.
func (l *Lab) startClient() (*Client, error) {
	conn, err := l.listen(client, netip.AddrPortFrom(Addr(client, SIP), 0))
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, first: 1}
	c.AskBy("")
	c.wg.Go(c.ask)
	c.wg.Go(c.hear)
	return c, nil
}

// listen opens a UDP socket at a host.
func (l *Lab) listen(host string, at netip.AddrPort) (conn *net.UDPConn, err error) {
	err = l.hosts[host].Do(func() error {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket at host %s: %w", host, err)
	}
	return conn, nil
}

// ask sends, on a thread of its own. A tick that was missed is left out: requests sent in a burst would say nothing more.
func (c *Client) ask() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := request{target: ServiceAddress, from: c.conn.LocalAddr().(*net.UDPAddr).AddrPort(), user: "lab"}
	to := netip.AddrPortFrom(ServiceAddress, Port)
	var buf []byte
	for next := Now(); !c.stop.Load(); next = max(next+AskInterval, Now()) {
		sleepUntil(next)
		if c.paused.Load() {
			continue
		}
		r.method = c.method.Load().(string)
		r.serial = c.remember(Now())
		buf = r.append(buf[:0])
		_, _ = c.conn.WriteToUDPAddrPort(buf, to) // what can't be sent isn't answered, and that is what counts
	}
}

// remember notes a request as sent and gives it its serial.
func (c *Client) remember(sent time.Duration) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := len(c.asks) / 2; old > 0 && c.asks[old].Sent < sent-memory {
		c.asks = append([]Ask(nil), c.asks[old:]...)
		c.first += uint64(old)
	}
	c.asks = append(c.asks, Ask{Sent: sent})
	return c.first + uint64(len(c.asks)) - 1
}

// hear notes the answers.
func (c *Client) hear() {
	buf := make([]byte, 4096)
	for !c.stop.Load() {
		n, _, err := c.conn.ReadFromUDPAddrPort(buf)
		now := Now()
		if err != nil {
			continue // an ICMP error, or the end
		}
		if a, ok := parseAnswer(buf[:n]); ok && a.serves() {
			c.note(a, now)
		}
	}
}

func (c *Client) note(a answer, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := a.serial - c.first
	if i < uint64(len(c.asks)) && c.asks[i].Took == 0 {
		c.asks[i].Took, c.asks[i].Server = max(now-c.asks[i].Sent, 1), a.server
	}
}

// Window copies the requests sent in a span and a little before. Those of the last AnswerLimit may still be answered.
func (c *Client) Window(from, to time.Duration) []Ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	return window(c.asks, func(a Ask) time.Duration { return a.Sent }, from-time.Second, to)
}

// AskBy asks by another method from now on: INVITE, whose calls the servers refuse as busy, or OPTIONS, also by no name.
func (c *Client) AskBy(method string) { c.method.Store(cmp.Or(method, "OPTIONS")) }

// Pause stops asking, or goes on.
func (c *Client) Pause(paused bool) { c.paused.Store(paused) }

func (c *Client) close() error {
	c.stop.Store(true)
	err := c.conn.SetReadDeadline(time.Now())
	c.wg.Wait()
	return errors.Join(err, c.conn.Close())
}

// window copies the part of a list sorted by time that lies in a span.
func window[T any](all []T, at func(T) time.Duration, from, to time.Duration) []T {
	first := searchTime(all, at, from)
	last := searchTime(all, at, to+1)
	return append([]T(nil), all[first:max(first, last)]...)
}

// searchTime is the index of the first element that is not before a moment.
func searchTime[T any](all []T, at func(T) time.Duration, moment time.Duration) int {
	low, high := 0, len(all)
	for low < high {
		if mid := (low + high) / 2; at(all[mid]) < moment {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// askOnce sends one OPTIONS from a host to an address and waits for its answer.
func (l *Lab) askOnce(ctx context.Context, host string, target netip.Addr) error {
	_, err := l.transact(ctx, host, request{method: "OPTIONS", target: target, user: "lab"})
	return err
}

// transactSerial numbers the requests of transact, apart from those of the clients.
var transactSerial atomic.Uint64

// transactWait is how long transact waits for an answer before it sends again.
const transactWait = 20 * time.Millisecond

// transact sends a request from a host, again and again until it is answered or ctx ends.
func (l *Lab) transact(ctx context.Context, host string, r request) (answer, error) {
	conn, err := l.listen(host, netip.AddrPortFrom(Addr(host, SIP), 0))
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	r.from = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	r.serial = 1<<63 + transactSerial.Add(1)
	msg := r.append(nil)
	buf := make([]byte, 4096)
	for ctx.Err() == nil {
		if _, err := conn.WriteToUDPAddrPort(msg, netip.AddrPortFrom(r.target, Port)); err != nil {
			return answer{}, fmt.Errorf("ask %s: %w", r.target, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(transactWait)); err != nil {
			return answer{}, err
		}
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			if a, ok := parseAnswer(buf[:n]); ok && a.serial == r.serial && a.code >= 200 {
				return a, nil
			}
		}
	}
	return answer{}, fmt.Errorf("ask %s: no answer: %w", r.target, ctx.Err())
}
