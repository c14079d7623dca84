package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/oos/wire"
)

// writeWithin bounds a write. A connection with room for a probe takes it at once, and one without is dropped.
const writeWithin = 10 * time.Millisecond

// mostUnread bounds how many messages of one connection wait for the goroutine of Run, mostStrange how many that answer nothing one may
// carry before it is replaced.
const (
	mostUnread  = 16
	mostStrange = 256
)

var errStrange = errors.New("too many messages that answer nothing")

// stream is the connection to a device on TCP or TLS. It is kept open; one that breaks or falls silent is replaced with the next
// probe, so a device that accepts nothing sees one attempt each oos-force.
type stream struct {
	dial    *dial  // under way
	link    *link  // in use
	rescued uint32 // transaction for which a broken connection was replaced at once
}

// dial is an attempt to connect. One that is forgotten ends by itself.
type dial struct{ _ byte }

// link is a connection. Its reader owns the reading side.
type link struct {
	conn   net.Conn
	raw    net.Conn // beneath TLS: closing it sends nothing and never waits
	local  netip.AddrPort
	proven bool // it carried an answer
	quiet  bool // the last request on it has no answer
	unread atomic.Int32
}

// write sends the newest request on the connection, or has one made.
func (c *Checker) write(s *slot) {
	s.delivered()
	l := s.stream.link
	if l == nil {
		c.connect(s)
		return
	}
	host, local := hostPort(l.local)
	b := s.append(nil, host, local, s.auth)
	c.departed(s, c.now())
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeWithin))
	l.quiet = true
	if _, err := l.conn.Write(b); err != nil {
		c.broke(s, &note{at: s.sent, link: l, err: err})
	}
}

// connect begins to connect, if that is not under way.
func (c *Checker) connect(s *slot) {
	switch {
	case s.stream.dial != nil:
		return
	case !s.addr.IsValid():
		s.unsent(s.lookup.err)
		s.undelivered(c.now())
		return
	}
	d := &dial{}
	s.stream.dial = d
	number, to, source, within, conf := s.number, s.addr, c.source, s.force, (*tls.Config)(nil)
	if s.site.transport == TLS {
		if conf = c.TLS; conf.ServerName == "" {
			conf = conf.Clone()
			conf.ServerName = s.site.server
		}
	}
	c.loop.begin(func(ctx context.Context) {
		l, err := open(ctx, within, to, source, conf)
		c.tell(note{slot: number, dial: d, link: l, err: err})
		if l != nil {
			defer context.AfterFunc(ctx, func() { l.raw.Close() })()
			c.read(number, l)
		}
	})
}

// open connects.
func open(ctx context.Context, within time.Duration, to netip.AddrPort, source netip.Addr, conf *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	dialer := net.Dialer{KeepAlive: -1}
	if source.IsValid() && source.Unmap().Is4() == to.Addr().Is4() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	raw, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	l := &link{conn: raw, raw: raw, local: raw.LocalAddr().(*net.TCPAddr).AddrPort()}
	l.local = netip.AddrPortFrom(l.local.Addr().Unmap(), l.local.Port())
	if conf == nil {
		return l, nil
	}
	secure := tls.Client(raw, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	l.conn = secure
	return l, nil
}

// read passes answers on until the connection ends.
func (c *Checker) read(number int32, l *link) {
	f := wire.Framer{R: l.conn}
	strange := 0
	for {
		b, err := f.Next()
		switch {
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		case err != nil:
		case l.unread.Load() >= mostUnread, !bearsMark(b):
			if strange++; strange < mostStrange {
				continue
			}
			err = errStrange
		}
		l.unread.Add(1)
		c.tell(note{slot: number, link: l, octets: append([]byte(nil), b...), err: err})
		if err != nil {
			return
		}
	}
}

// bearsMark reports whether a message may be an answer to a request of ours.
func bearsMark(b []byte) bool {
	y, ok := wire.ParseReply(b)
	if ok {
		_, ok = readMark(y.Branch)
	}
	return ok
}

// dialed takes the end of connecting.
func (c *Checker) dialed(s *slot, n *note) {
	if s.stream.dial != n.dial { // nobody wants it any more
		if n.link != nil {
			n.link.raw.Close()
		}
		return
	}
	s.stream.dial = nil
	if n.link != nil {
		if s.stream.link = n.link; s.waiting && s.denied == 0 {
			c.write(s)
		}
		return
	}
	var timeout net.Error
	switch {
	case errors.Is(n.err, unix.ECONNREFUSED):
		c.stats.Refusals++
		s.refuse(n.at, "")
	case errors.As(n.err, &timeout) && timeout.Timeout():
		s.noted("no connection in time")
	case errors.Is(n.err, unix.EHOSTUNREACH):
		s.noted(wire.Reason(n.err))
	case wire.Ours(n.err):
		s.unsent(wire.Reason(n.err))
	default: // reset, or a failed TLS handshake
		s.refuse(n.at, wire.Reason(n.err))
	}
	s.undelivered(n.at)
}

// replied takes a message.
func (c *Checker) replied(s *slot, n *note) {
	n.link.unread.Add(-1)
	if n.link != s.stream.link {
		return
	}
	y, ok := wire.ParseReply(n.octets)
	if !ok {
		return
	}
	if m, ok := readMark(y.Branch); ok && s.is(m) && s.answeredBy(&y) {
		n.link.proven, n.link.quiet = true, false
		c.answered(s, &y, n.at)
	}
}

// broke takes the end of a connection. One that carried answers is replaced at once, and only what the new one meets means something:
// devices close connections for reasons of their own, and one that died refuses the next.
func (c *Checker) broke(s *slot, n *note) {
	if n.link != s.stream.link {
		return
	}
	s.drop()
	switch {
	case !s.waiting || s.denied != 0:
	case n.link.proven && s.stream.rescued != s.seq:
		s.stream.rescued = s.seq
		c.write(s)
	case errors.Is(n.err, unix.ETIMEDOUT), errors.Is(n.err, errStrange):
		s.noted(wire.Reason(n.err))
		s.undelivered(n.at)
	case !n.link.proven:
		s.refuse(n.at, "connection closed without an answer")
		s.undelivered(n.at)
	default:
		s.undelivered(n.at)
	}
}

// drop closes the connection in use, hangUp forgets one that is being made as well.
func (s *slot) drop() {
	if s.stream.link != nil {
		s.stream.link.raw.Close()
		s.stream.link = nil
	}
}

func (s *slot) hangUp() {
	s.drop()
	s.stream.dial = nil
}
