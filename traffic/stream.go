package traffic

import (
	"time"

	"github.com/understudy-sip/understudy/traffic/sip"
)

// stream reads one direction of a TCP connection. What it carries shows by itself; on a port for TLS nothing else is expected.
type stream struct {
	o    *observer
	meta Meta
	emit func([]byte)

	sip    sip.Stream
	ws     *sip.WebSocket
	tls    *sip.TLSRecords
	joined bool // out of step for a reason: what is skipped is no fault
}

func newStream(o *observer, meta Meta) *stream {
	s := &stream{o: o, meta: meta}
	s.emit = func(msg []byte) {
		s.joined = false
		o.message(msg, s.meta)
	}
	switch meta.Transport {
	case TLS:
		s.tls = &sip.TLSRecords{Least: sip.TLSMessage}
	case WS:
		s.ws = &sip.WebSocket{}
	}
	return s
}

func (s *stream) feed(b []byte, at time.Duration) {
	s.meta.At = at
	switch {
	case s.tls != nil:
		s.o.records(s.tls.Feed(b), s.meta)
	case s.ws != nil:
		s.feedWebSocket(b)
	default:
		s.feedSIP(b)
	}
}

func (s *stream) feedSIP(b []byte) {
	if isKeepAlive(b) && s.sip.Buffered() == 0 && s.meta.In && !s.meta.Local {
		s.o.keepAlive()
	}
	skipped := s.sip.Skipped()
	s.sip.Feed(b, s.emit)
	switch s.sip.Kind() {
	case sip.TLS:
		s.tls, s.meta.Transport = &sip.TLSRecords{Least: sip.TLSMessage}, TLS
		s.sip = sip.Stream{}
		s.feed(b, s.meta.At)
	case sip.HTTP:
		s.ws, s.meta.Transport = &sip.WebSocket{}, WS
		s.sip = sip.Stream{}
		s.feed(b, s.meta.At)
	default:
		s.skipped(s.sip.Skipped() - skipped)
	}
}

func (s *stream) feedWebSocket(b []byte) {
	skipped := s.ws.Skipped()
	s.ws.Feed(b, s.emit)
	s.skipped(s.ws.Skipped() - skipped)
}

// skipped takes note of octets that were part of no message.
func (s *stream) skipped(n uint64) {
	if n > 0 && !s.joined && s.meta.In && !s.meta.Local {
		s.o.garbage()
	}
}

func (s *stream) gap() {
	s.joined = true
	switch {
	case s.tls != nil:
		s.tls.Gap()
	case s.ws != nil:
		s.ws.Gap()
	default:
		s.sip.Gap()
	}
}

func (s *stream) buffered() int {
	switch {
	case s.tls != nil:
		return 0
	case s.ws != nil:
		return s.ws.Buffered()
	}
	return s.sip.Buffered()
}

// isKeepAlive knows the empty lines between messages (RFC 5626 3.5.1).
func isKeepAlive(b []byte) bool {
	if len(b) > 4 {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
