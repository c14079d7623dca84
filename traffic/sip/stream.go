package sip

import "bytes"

// maxStartLine bounds what a Stream keeps while it sees no start line, in octets.
const maxStartLine = 4 << 10

// Kind is what a stream carries, as far as its octets tell.
type Kind uint8

// The kinds of streams. A Stream whose kind is TLS or HTTP emits nothing more: feed its octets to TLSRecords or, if it is a WebSocket, to
// WebSocket, beginning with those at which the kind showed.
const (
	Unknown Kind = iota
	SIP          // at least one message was emitted
	TLS          // a TLS record at the beginning, or four in a row
	HTTP         // an HTTP request or response at the beginning
)

// Stream cuts messages from one direction of a TCP connection by their Content-Length (RFC 3261 18.3); without a readable one a message has
// no body. It can begin anywhere in a connection. What it emits does not depend on how the octets were cut into segments.
//
// Out of step, because of a gap, of garbage, or of a message of more than MaxMessage octets, it looks for a start line, which may
// follow a body directly, and takes up again with a message that has a Call-ID and a CSeq that fits. It keeps at most MaxMessage octets, and no
// more than 4 KiB while nothing looks like a message. The zero Stream is ready for use.
type Stream struct {
	backlog backlog
	kind    Kind
	begun   bool // the first octets were looked at
	lost    bool // out of step
	have    bool // the backlog begins with a start line
	line    int  // in the backlog: where the first line begins that was not looked at
	seen    int  // in the backlog: no line ends between line and here
	need    int  // length of the message that the backlog begins with, 0 if not known
	skipped uint64
	records TLSRecords // looks at what is skipped while the kind is unknown
}

// Feed takes the next octets of the connection and calls emit for each message that is complete with them. msg is the message alone,
// valid during the call; Parse takes all of it.
func (s *Stream) Feed(b []byte, emit func(msg []byte)) {
	s.backlog.feed(b, MaxMessage, func(v []byte) (used, want int) { return s.settle(v, emit) })
}

// Gap tells that octets are missing before those that Feed gets next.
func (s *Stream) Gap() {
	*s = Stream{kind: s.kind, begun: s.opaque(), lost: true, skipped: s.skipped + uint64(len(s.backlog.buf))}
}

// Kind tells what the stream carries.
func (s *Stream) Kind() Kind { return s.kind }

// Skipped counts the octets that were part of no message, other than empty lines between messages.
func (s *Stream) Skipped() uint64 { return s.skipped }

// Buffered tells how many octets wait for the rest of their message.
func (s *Stream) Buffered() int { return len(s.backlog.buf) }

func (s *Stream) opaque() bool { return s.kind == TLS || s.kind == HTTP }

// settle emits and skips what can be told from v. Its every decision is one that it would also take if it saw more: that is what makes
// the cuts not matter.
func (s *Stream) settle(v []byte, emit func([]byte)) (used, want int) {
	for !s.opaque() {
		n, ok := s.step(v[used:], emit)
		used += n
		if !ok {
			return used, s.need
		}
	}
	s.skipped += uint64(len(v) - used)
	return len(v), 0
}

// step takes one decision and says how many octets it settles. ok is false if it needs more.
func (s *Stream) step(v []byte, emit func([]byte)) (n int, ok bool) {
	switch {
	case s.need > 0:
		return s.finish(v, emit)
	case len(v) == 0:
		return 0, false
	case !s.begun:
		return 0, s.begin(v)
	case !s.have && !s.lost:
		if n := skipEmptyLines(v); n > 0 {
			return n, true
		}
		s.lost = !isToken(v[0])
	}
	from := max(s.line, s.seen)
	i := bytes.IndexByte(v[from:], '\n')
	if i < 0 {
		n, ok = s.unfinished(v)
		s.seen = len(v) - n
		return n, ok
	}
	s.seen = 0
	return s.look(v, from+i+1)
}

// begin looks at the first octets of the stream. It is false if they are too few.
func (s *Stream) begin(v []byte) bool {
	if isRecordType(v[0]) {
		if len(v) < 3 {
			return false
		}
		if isRecordVersion(v[1], v[2]) {
			s.kind = TLS
		}
	}
	s.begun = true
	return true
}

// look takes the line that ends at end. Without a start line it is the first of v.
func (s *Stream) look(v []byte, end int) (n int, ok bool) {
	line := v[s.line:end]
	switch {
	case !s.have && !s.lost:
		s.startsHere(line)
		return 0, true
	case !s.have:
		return s.search(v, end), true
	case end > MaxMessage:
		return s.overflow(v), true
	case line[0] == '\n' || (line[0] == '\r' && line[1] == '\n'):
		return s.headers(v[:end]), true
	case s.lost:
		n = s.supersede(v, line)
	}
	s.line = end - n
	return n, true
}

// startsHere takes the first line of a message, in step.
func (s *Stream) startsHere(line []byte) {
	switch {
	case len(line) > maxStartLine:
		s.lost = true
	case isStartLine(line) && findStartLine(line) <= 0: // else the end of a body is glued to it
		s.have, s.line = true, len(line)
	case s.kind == Unknown && isHTTP(line):
		s.kind = HTTP
	default:
		s.lost = true
	}
}

// headers takes the headers of a message, which are complete.
func (s *Stream) headers(head []byte) (n int) {
	var m Message
	_, err := Parse(head, &m)
	body := max(m.length, 0)
	if err != nil || body > int64(MaxMessage-len(head)) || (s.lost && !m.convinces()) {
		s.drop(head)
		s.restart(true)
		return len(head)
	}
	s.need = len(head) + int(body)
	return 0
}

// finish emits the message that v begins with when it is complete.
func (s *Stream) finish(v []byte, emit func([]byte)) (n int, ok bool) {
	if len(v) < s.need {
		return 0, false
	}
	n = s.need
	s.restart(false)
	s.kind = SIP
	emit(v[:n:n])
	return n, true
}

func (s *Stream) restart(lost bool) { s.have, s.line, s.need, s.lost = false, 0, 0, lost }

// isHTTP knows the first line of an HTTP request or response, such as the one that asks for a WebSocket (RFC 6455 4.1).
func isHTTP(line []byte) bool {
	line = trim(line)
	return bytes.HasPrefix(line, []byte("HTTP/1.")) || bytes.HasSuffix(line, []byte(" HTTP/1.1"))
}
