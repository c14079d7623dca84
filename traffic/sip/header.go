package sip

import (
	"bytes"
	"iter"
)

// field is where a header is: its name from at to colon, its value from there to end, which includes the end of the last line.
type field struct {
	at, colon, end int32
	kind           kind
}

// kind is a header that this package itself looks at.
type kind uint8

const (
	other kind = iota
	via
	from
	to
	callID
	cseq
	contact
	contentLength
	expires
	retryAfter
	numKinds
)

// Header gives the value of the first header called name, long or compact and in any case, without the spaces around it; nil if there is
// none, and empty but not nil if it has no value. A folded value still has its line ends inside.
func (m *Message) Header(name string) []byte {
	c := m.lines(name)
	value, _ := c.next()
	return value
}

// Headers gives all values of the headers called name, in their order: of several lines, and, where the header is a list (Via, Contact,
// Route, Record-Route, Path, Service-Route, Allow, Supported, Require, ...), each element of a line. Empty elements are left out.
func (m *Message) Headers(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) { m.each(name, yield) }
}

func (m *Message) each(name string, yield func([]byte) bool) {
	isList := isList(name)
	for c := m.lines(name); ; {
		line, ok := c.next()
		if !ok {
			return
		}
		if !isList {
			if !yield(line) {
				return
			}
			continue
		}
		for l := (list{rest: line}); ; {
			value, ok := l.next()
			if !ok {
				break
			}
			if !yield(value) {
				return
			}
		}
	}
}

// value gives the first header of a kind.
func (m *Message) value(k kind) ([]byte, bool) {
	if i := m.first[k]; i > 0 {
		return m.fields[i-1].value(m.head), true
	}
	if m.more == 0 {
		return nil, false
	}
	c := cursor{m: m, kind: k, i: m.count, at: m.more}
	return c.next()
}

// cursor walks over the headers of one name.
type cursor struct {
	m    *Message
	name string // in full; used if kind is other
	kind kind
	i    int // in fields
	at   int // in head, after fields; 0 for the end
}

func (m *Message) lines(name string) cursor {
	name = fullName(name)
	return cursor{m: m, name: name, kind: kindOf(name), at: m.more}
}

func (c *cursor) next() ([]byte, bool) {
	for c.i < c.m.count {
		f := &c.m.fields[c.i]
		c.i++
		if c.matches(f) {
			return f.value(c.m.head), true
		}
	}
	for c.at > 0 && c.at < len(c.m.head) {
		f, next, ok := cutField(c.m.head, c.at)
		if c.at = next; !ok {
			c.at = 0
		} else if f.colon >= 0 && c.matches(&f) {
			return f.value(c.m.head), true
		}
	}
	return nil, false
}

func (c *cursor) matches(f *field) bool {
	if f.kind != c.kind {
		return false
	}
	if c.kind != other {
		return true
	}
	name := trim(c.m.head[f.at:f.colon])
	if len(name) == 1 {
		return sameFold(fullName(string(name)), c.name)
	}
	return sameFold(name, c.name)
}

func (f *field) value(head []byte) []byte { return trim(head[f.colon+1 : f.end]) }

// cutField finds the header that begins at at, with the lines that continue it (RFC 3261 7.3.1), and where the next one begins. colon
// is -1 in a line without one. ok is false if there is an empty line instead; next is then its end.
func cutField(head []byte, at int) (f field, next int, ok bool) {
	if head[at] == '\n' {
		return field{}, at + 1, false
	}
	if head[at] == '\r' && at+1 < len(head) && head[at+1] == '\n' {
		return field{}, at + 2, false
	}
	end := at
	for {
		i := bytes.IndexByte(head[end:], '\n')
		if i < 0 {
			end = len(head)
			break
		}
		end += i + 1
		if end == len(head) || (head[end] != ' ' && head[end] != '\t') {
			break
		}
	}
	f = field{at: int32(at), colon: -1, end: int32(end)}
	if i := bytes.IndexByte(head[at:end], ':'); i >= 0 {
		f.colon = int32(at + i)
		f.kind = kindOf(trim(head[at : at+i]))
	}
	return f, end, true
}
