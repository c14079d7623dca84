package sip

import "errors"

// MaxMessage bounds a message, in octets; no datagram is longer.
const MaxMessage = 64 << 10

// What Parse finds instead of a message.
var (
	ErrKeepAlive = errors.New("keep-alive")     // empty lines or NULs (RFC 5626 3.5.1), nothing at all, or a STUN binding (RFC 5389)
	ErrNotSIP    = errors.New("no SIP message") // no start line of SIP/2.0
	ErrTooLong   = errors.New("message too long")
)

// maxFields is how many headers are indexed. Later ones are found by searching.
const maxFields = 64

// Message is an index into a SIP message. It holds no octets itself: it is valid until those it was parsed from change. The zero
// Message has no headers. It is large: keep one and parse into it again and again.
type Message struct {
	Request bool
	Method  []byte // of a request as it is written, nil in a response (CSeq knows that)
	URI     []byte // of a request
	Status  int    // of a response, 100 to 699
	Body    []byte // as far as it is there

	head   []byte // start line and headers
	length int64  // Content-Length, -1 without a readable one
	fields [maxFields]field
	count  int            // fields in use
	more   int            // where in head those begin that are not in fields, 0 if there are none
	first  [numKinds]int8 // index in fields of the first of a kind + 1, 0 if there is none
}

// Parse indexes the message that b, one datagram or one message from a stream, begins with, and says how many octets it takes: empty
// lines before it, its headers, and a body as long as its Content-Length says. Without a readable Content-Length, or if that says
// more than there is, the message takes all of b. With an error n is 0 and m is empty; the errors are ErrKeepAlive, ErrNotSIP and
// ErrTooLong.
func Parse(b []byte, m *Message) (n int, err error) {
	m.reset()
	if len(b) > MaxMessage {
		return 0, ErrTooLong
	}
	skipped := skipEmptyLines(b)
	head := b[skipped:]
	line, at := cutLine(head)
	m.Method, m.URI, m.Status = readStartLine(line)
	m.Request = m.Method != nil
	if !m.Request && m.Status == 0 {
		if isKeepAlive(b) {
			return 0, ErrKeepAlive
		}
		return 0, ErrNotSIP
	}
	end := m.index(head, at)
	m.head, m.Body = head[:end:end], head[end:]
	if m.length >= 0 && m.length < int64(len(m.Body)) {
		m.Body = m.Body[:m.length:m.length]
	}
	return skipped + end + len(m.Body), nil
}

// Complete reports whether the message has the headers that a server needs to answer it (RFC 3261 8.1.1, without Max-Forwards, which old
// ones lack): To, From, a readable CSeq, Call-ID and Via.
func (m *Message) Complete() bool {
	for k := via; k <= callID; k++ {
		if _, ok := m.value(k); !ok {
			return false
		}
	}
	_, _, ok := m.CSeq()
	return ok
}

func (m *Message) reset() {
	m.Request, m.Method, m.URI, m.Status, m.Body = false, nil, nil, 0, nil
	m.head, m.length, m.count, m.more = nil, -1, 0, 0
	m.first = [numKinds]int8{}
}

// index notes where the headers are that begin at at, and gives the end of the empty line after them, or of head.
func (m *Message) index(head []byte, at int) int {
	for at < len(head) {
		f, next, ok := cutField(head, at)
		if !ok {
			return next
		}
		if f.colon < 0 {
			at = next
			continue
		}
		if m.count == maxFields {
			if m.more == 0 {
				m.more = at
			}
		} else {
			m.fields[m.count] = f
			m.count++
			if m.first[f.kind] == 0 {
				m.first[f.kind] = int8(m.count)
			}
		}
		if f.kind == contentLength && m.length < 0 {
			m.length = readLength(f.value(head))
		}
		at = next
	}
	return len(head)
}

// readLength reads a Content-Length, -1 if it is none.
func readLength(value []byte) int64 {
	n, digits := number(value)
	if digits == 0 || digits != len(value) {
		return -1
	}
	return int64(n)
}
