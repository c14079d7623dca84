package oos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/oos/wire"
)

// stream probes one target over TCP or TLS: one connection, kept and replaced when it breaks or falls silent.
//
// A connection that breaks after it carried answers is replaced at once, and only what the new one meets is a verdict: servers close
// connections for reasons of their own, and one that died refuses the next.
type stream struct {
	*watch
	events  chan event
	wg      sync.WaitGroup
	link    *link // the connection in use, nil without one
	dialing bool
}

// link is one connection. Its reader owns the reading side.
type link struct {
	conn   net.Conn
	raw    net.Conn // beneath TLS: closing it sends nothing and never waits
	msg    *message
	opened time.Duration
	proven bool // it carried an answer
}

// event comes from the goroutine that connects or that reads.
type event struct {
	link *link
	err  error  // connecting failed, or the connection broke
	code int    // of an answer, 0 for the end of connecting
	seq  uint32 // of the probe answered
	at   time.Duration
}

func newStream(w *watch) *stream { return &stream{watch: w, events: make(chan event, 64)} }

// run probes until ctx ends and returns when everything it started has ended.
func (s *stream) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer s.wg.Wait()
	defer s.drop()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		planned := s.wake()
		timer.Reset(planned - s.now())
		select {
		case <-ctx.Done():
			return
		case e := <-s.events:
			s.handle(e)
		case <-timer.C:
		}
		for more := true; more; { // what has arrived counts before anything is judged
			select {
			case e := <-s.events:
				s.handle(e)
			default:
				more = false
			}
		}
		now := s.now()
		if s.isLate(now, planned) {
			s.late(now)
		}
		if now >= s.due() {
			s.ask(ctx, now)
		}
		s.conclude(now)
		if s.basis == silence && s.link != nil && now-s.link.opened > s.Silence {
			s.drop() // a connection into a black hole stays one
		}
	}
}

// ask sends a probe, or begins to connect. Connecting counts as asking: there is no answer.
func (s *stream) ask(ctx context.Context, now time.Duration) {
	s.plan(now)
	if s.link == nil {
		s.extra = mostExtra // one connection is made at a time, so there is nothing to hurry
		if !s.dialing {
			s.dialing = true
			s.wg.Go(func() { s.dial(ctx) })
		}
		if !s.stuck {
			s.sent(now)
		}
		return
	}
	_ = s.link.conn.SetWriteDeadline(time.Now().Add(s.Interval))
	if _, err := s.link.conn.Write(s.link.msg.next(now)); err != nil {
		s.broken(now, err)
	}
	s.sent(now)
}

func (s *stream) handle(e event) {
	switch {
	case e.code != 0:
		if rtt, ok := e.link.msg.settle(e.seq, e.at); ok && e.link == s.link {
			s.link.proven = true
			s.took(e.at, e.code, rtt)
		}
	case e.link == nil:
		s.dialing = false
		s.failed(e.err, e.at)
	case e.err == nil:
		s.dialing = false
		s.link = e.link
		s.next = e.at // ask at once
	case e.link == s.link:
		s.broken(e.at, e.err)
	}
}

// failed draws the conclusion from a connection that did not come about.
func (s *stream) failed(err error, at time.Duration) {
	var timeout net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		s.stuck = false
		s.refused(at, "")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, unix.EHOSTUNREACH):
		if s.stuck { // now somebody was asked
			s.sent(at)
		}
	case wire.Ours(err):
		s.unsent("cannot ask: " + wire.Reason(err))
	default: // reset, or a failed TLS handshake
		s.stuck = false
		s.refused(at, wire.Reason(err))
	}
}

// broken draws the conclusion from the end of the connection in use.
func (s *stream) broken(now time.Duration, err error) {
	l := s.link
	s.drop()
	if !l.proven && !errors.Is(err, unix.ETIMEDOUT) {
		s.refused(now, "connection closed without an answer")
		return
	}
	if now-l.opened >= s.Interval { // else at the next probe's time: a server that closes after each answer must not make us spin
		s.next = now
	}
}

func (s *stream) drop() {
	if s.link != nil {
		s.link.raw.Close()
		s.link = nil
	}
}

func (s *stream) dial(ctx context.Context) {
	l, err := s.connect(ctx)
	select {
	case s.events <- event{link: l, err: err, at: s.now()}:
	case <-ctx.Done():
		if l != nil {
			l.raw.Close()
		}
		return
	}
	if l != nil {
		s.read(ctx, l)
	}
}

func (s *stream) connect(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.Silence, leastAsked*s.Interval))
	defer cancel()
	dialer := net.Dialer{KeepAlive: -1}
	if s.From.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.From, 0))
	}
	raw, err := dialer.DialContext(ctx, "tcp", s.Addr.String())
	if err != nil {
		return nil, err
	}
	local, err := netip.ParseAddrPort(raw.LocalAddr().String())
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("local address: %w", err)
	}
	conn := raw
	if s.Transport == TLS {
		secure := tls.Client(raw, s.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		conn = secure
	}
	return &link{conn: conn, raw: raw, msg: newMessage(s.Transport, local, s.Addr), opened: s.now()}, nil
}

// read passes answers on until the connection ends.
func (s *stream) read(ctx context.Context, l *link) {
	f := wire.Framer{R: l.conn}
	for {
		b, err := f.Next()
		e := event{link: l, err: err, at: s.now()}
		if err == nil {
			r, ok := wire.ParseReply(b)
			if !ok || r.Code < 200 {
				continue
			}
			if e.seq, ok = l.msg.identify(r); !ok {
				continue
			}
			e.code = r.Code
		} else if errors.Is(err, io.EOF) {
			e.err = io.ErrUnexpectedEOF
		}
		select {
		case s.events <- e:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
