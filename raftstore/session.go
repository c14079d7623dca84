package raftstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// session is one control stream, from the exchange of hellos to its end.
type session struct {
	peer   *peer
	conn   *tls.Conn
	hello  hello
	remote string
	since  time.Time

	out  chan frame
	wake chan struct{} // a newer report is to be sent
	done chan struct{} // closed when everybody has been told that it ended

	heard atomic.Int64 // nanoseconds after origin
	rtt   atomic.Int64

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan answer // nil once the session has ended
}

const (
	sessionQueue = 64
	maxServing   = 16 // requests of one peer worked on at a time
)

var errSessionEnded = errors.New("the control stream ended")

func newSession(p *peer, conn *tls.Conn, h hello) *session {
	s := &session{
		peer: p, conn: conn, hello: h, remote: conn.RemoteAddr().String(), since: time.Now(),
		out: make(chan frame, sessionQueue), wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: map[uint64]chan answer{},
	}
	s.heard.Store(int64(time.Since(origin)))
	return s
}

// run serves the stream until it breaks or ctx ends, and says why.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.conn.NetConn().Close() })()
	var wg sync.WaitGroup
	var writeErr error
	wg.Go(func() {
		writeErr = s.write(ctx)
		s.conn.NetConn().Close() // wakes the reader
	})
	s.poke()
	readErr := s.read(ctx, &wg)
	cancel()
	wg.Wait()
	s.mu.Lock()
	for _, ch := range s.pending {
		close(ch)
	}
	s.pending = nil
	s.mu.Unlock()
	if writeErr != nil && ctx.Err() == nil {
		return writeErr
	}
	return readErr
}

func (s *session) read(ctx context.Context, wg *sync.WaitGroup) error {
	silence := s.peer.net.o.Timing.ReportStale
	slots := make(chan struct{}, maxServing)
	r := bufio.NewReader(s.conn)
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(silence))
		f, err := readFrame(r)
		if err != nil {
			return plain(err)
		}
		now := time.Since(origin)
		s.heard.Store(int64(now))
		switch {
		case f.Refuse != "":
			return &refusedError{f.Refuse}
		case f.Ping != 0:
			s.send(frame{Pong: f.Ping, Clock: time.Now().UnixNano()})
		case f.Pong != 0:
			rtt := int64(now) - int64(f.Pong)
			s.rtt.Store(rtt)
			if f.Clock != 0 && rtt < int64(clockTrust) { // else it says little, or this process was frozen in between
				s.peer.net.o.OnClock(s.peer.node.ID, clockAhead(f.Clock, time.Now().UnixNano(), rtt))
			}
		case f.Report != nil:
			f.Report.Node = s.peer.node.ID // whatever it says: the certificate decides who speaks
			s.peer.net.o.OnReport(*f.Report)
		case f.Answer != nil:
			s.deliver(*f.Answer)
		case f.Request != nil:
			s.serve(ctx, wg, slots, *f.Request)
		}
	}
}

// clockTrust is the longest round trip after which a clock is compared.
const clockTrust = time.Second

// clockAhead is by how much a clock is ahead that was read half a round trip before now, all in nanoseconds.
func clockAhead(theirs, now, rtt int64) time.Duration { return time.Duration(theirs + rtt/2 - now) }

// serve works on a request beside the stream, so that a slow one holds nothing up.
func (s *session) serve(ctx context.Context, wg *sync.WaitGroup, slots chan struct{}, q request) {
	select {
	case slots <- struct{}{}:
	default:
		s.send(frame{Answer: &answer{ID: q.ID, Code: codeOther, Text: "too many requests at a time"}})
		return
	}
	wg.Go(func() {
		defer func() { <-slots }()
		a := s.peer.net.serve(ctx, s.peer.node.ID, q)
		a.ID = q.ID
		s.send(frame{Answer: &a})
	})
}

func (s *session) write(ctx context.Context) error {
	silence := s.peer.net.o.Timing.ReportStale
	ping := time.NewTicker(silence / 4)
	defer ping.Stop()
	for {
		var f frame
		select {
		case <-ctx.Done():
			return nil
		case f = <-s.out:
		case <-s.wake:
			if f.Report = s.peer.net.report.Load(); f.Report == nil {
				continue
			}
		case <-ping.C:
			f.Ping = uint64(time.Since(origin))
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(silence))
		if err := writeFrame(s.conn, f); err != nil {
			return plain(err)
		}
	}
}

// send queues a frame and reports whether there was room.
func (s *session) send(f frame) bool {
	select {
	case s.out <- f:
		return true
	default:
		s.peer.net.quiet.log(s.peer.net.log.Warn, "control stream is congested", string(s.peer.node.ID), "message dropped", zap.String("peer", string(s.peer.node.ID)))
		return false
	}
}

// poke sends the newest report soon.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ask sends a request and waits for its answer.
func (s *session) ask(ctx context.Context, q request) (answer, error) {
	ch := make(chan answer, 1)
	s.mu.Lock()
	if s.pending == nil {
		s.mu.Unlock()
		return answer{}, errSessionEnded
	}
	s.next++
	q.ID = s.next
	s.pending[q.ID] = ch
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, q.ID)
		s.mu.Unlock()
	}()
	if !s.send(frame{Request: &q}) {
		return answer{}, fmt.Errorf("ask %s: too much is waiting to be sent", s.peer.node.ID)
	}
	select {
	case a, ok := <-ch:
		if !ok {
			return answer{}, errSessionEnded
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (s *session) deliver(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch, ok := s.pending[a.ID]; ok {
		delete(s.pending, a.ID)
		ch <- a
	}
}

// alive asks the other side for a sign of life and reports whether anything came in time.
func (s *session) alive(within time.Duration) bool {
	start := time.Since(origin)
	s.send(frame{Ping: uint64(start)})
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for time.Since(origin) < start+within {
		select {
		case <-s.done:
			return false
		case <-t.C:
			if s.heard.Load() > int64(start) {
				return true
			}
		}
	}
	return false
}
