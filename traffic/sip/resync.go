package sip

import "bytes"

// recordsInRow is how many TLS records in a row make a stream that began in the middle a TLS stream.
const recordsInRow = 4

// unfinished decides about a line whose end has not come.
func (s *Stream) unfinished(v []byte) (n int, ok bool) {
	switch {
	case s.have && len(v) >= MaxMessage:
		return s.overflow(v), true
	case s.have || len(v) <= maxStartLine:
		return 0, false
	case !s.lost:
		s.lost = true
		return 0, true
	}
	n = len(v) - maxStartLine
	s.drop(v[:n])
	return n, false
}

// search looks for a start line in the first line of v, out of step.
func (s *Stream) search(v []byte, end int) (n int) {
	from := max(0, end-maxStartLine)
	at := findStartLine(v[from:end])
	if at < 0 {
		s.drop(v[:end])
		return end
	}
	n = from + at
	s.drop(v[:n])
	s.have, s.line = true, end-n
	return n
}

// supersede looks for another start line in a line of headers, out of step: then the earlier one was none, or its message was cut off.
func (s *Stream) supersede(v, line []byte) (n int) {
	at := findStartLine(line[max(0, len(line)-maxStartLine):])
	if at < 0 {
		return 0
	}
	n = s.line + max(0, len(line)-maxStartLine) + at
	s.drop(v[:n])
	return n
}

// convinces says whether a message is one, out of step. A start line alone can be quoted anywhere (message/sipfrag), and the beginning of
// a method can be missing: CSeq repeats it.
func (m *Message) convinces() bool {
	_, method, ok := m.CSeq()
	return ok && m.CallID() != nil && (!m.Request || bytes.Equal(method, m.Method))
}

// overflow skips as much as a message may have.
func (s *Stream) overflow(v []byte) int {
	s.drop(v[:MaxMessage])
	s.restart(true)
	return MaxMessage
}

func (s *Stream) drop(b []byte) {
	s.skipped += uint64(len(b))
	if s.kind != Unknown {
		return
	}
	s.records.Feed(b)
	if s.records.longest >= recordsInRow {
		s.kind = TLS
	}
}

// methods are those of the IANA registry.
var methods = [...]string{
	"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
}

// findStartLine gives where in a line a start line begins, which then is the rest of the line; -1 without one. Anything may stand before
// it, because a body need not end with a line end.
func findStartLine(line []byte) int {
	if i := findStatusLine(line); i >= 0 {
		return i
	}
	b := trimEnd(line)
	end := len(b) - len(version)
	if end < 0 || !is(b[end:], version) {
		return -1
	}
	uri, uriEnd := lastWord(b[:end])
	_, methodEnd := lastWord(b[:uri])
	if uriEnd == end || uri == uriEnd || methodEnd == 0 {
		return -1
	}
	method := methodEnd
	for method > 0 && isToken(b[method-1]) {
		method--
	}
	if method == methodEnd {
		return -1
	}
	for _, m := range methods {
		if bytes.HasSuffix(b[method:methodEnd], []byte(m)) {
			return methodEnd - len(m)
		}
	}
	return method
}

// findStatusLine gives where the last status line in a line begins.
func findStatusLine(line []byte) int {
	const mark = "SIP/2.0 "
	for end := len(line); ; {
		i := bytes.LastIndex(line[:end], []byte(mark))
		if i < 0 {
			return -1
		}
		if statusOf(line[i+len(mark)-1:]) != 0 {
			return i
		}
		end = i
	}
}

// lastWord gives where the last word of b begins and ends; both are 0 without one.
func lastWord(b []byte) (start, end int) {
	b = trimEnd(b)
	for start = len(b); start > 0 && !isBlank(b[start-1]); start-- {
	}
	return start, len(b)
}

func trimEnd(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}
