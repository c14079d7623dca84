package sip

import "bytes"

// Param gives a parameter of params, which is what follows the semicolon in "a=b;c" or ";a=b;c". Names count in any case, spaces
// around = and ; do not count. A quoted value comes without its quotes, with its escapes as they are. A parameter without a value has an empty
// one; ok says whether it is there.
func Param(params []byte, name string) (value []byte, ok bool) {
	var q quoting
	for len(params) > 0 {
		i := q.until(params, ';', ';')
		part := params[:i]
		params = params[min(i+1, len(params)):]
		key, value, _ := bytes.Cut(part, []byte("="))
		if sameFold(trim(key), name) {
			return unquote(trim(value)), true
		}
	}
	return nil, false
}

// Address reads a name-addr or an addr-spec (RFC 3261 20.10): the URI without angle brackets, and the parameters of the header. If there are no
// brackets, parameters belong to the header.
func Address(value []byte) (uri, params []byte) {
	var q quoting
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i = q.skipQuoted(value, i)
		case '<':
			rest := value[i+1:]
			end := bytes.IndexByte(rest, '>')
			if end < 0 {
				return trim(rest), nil
			}
			return trim(rest[:end]), rest[end+1:]
		case ';':
			return trim(value[:i]), value[i:]
		}
	}
	return trim(value), nil
}

// list gives the elements of a header, with commas between them.
type list struct {
	rest []byte
	q    quoting
}

// next leaves out empty elements.
func (l *list) next() (value []byte, ok bool) {
	for len(l.rest) > 0 {
		i := l.q.until(l.rest, ',', ',')
		value = trim(l.rest[:i])
		l.rest = l.rest[min(i+1, len(l.rest)):]
		if len(value) > 0 {
			return value, true
		}
	}
	return nil, false
}

// quoting remembers that a quotation mark or a bracket has no counterpart in what is left, and is therefore a character like any other. It is
// what bounds the work.
type quoting struct{ openQuote, openAngle bool }

// until finds the first a or b, commas or semicolons, outside quoted strings and angle brackets, or the end.
func (q *quoting) until(s []byte, a, b byte) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > '<' { // most are: letters
			continue
		}
		switch c {
		case a, b:
			return i
		case '"':
			i = q.skipQuoted(s, i)
		case '<':
			if q.openAngle {
				continue
			}
			end := bytes.IndexByte(s[i:], '>')
			if end < 0 {
				q.openAngle = true
				continue
			}
			i += end
		}
	}
	return len(s)
}

// skipQuoted gives the end of the quoted string that begins at i, or i if it has none.
func (q *quoting) skipQuoted(s []byte, i int) int {
	if q.openQuote {
		return i
	}
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j
		}
	}
	q.openQuote = true
	return i
}

func unquote(b []byte) []byte {
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}

// number reads the digits that b begins with. Large numbers become 1<<59 - 1, more than any length or time.
func number(b []byte) (n uint64, digits int) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		digits++
		n = min(n*10+uint64(c-'0'), 1<<59-1)
	}
	return n, digits
}

// trim cuts off spaces and the ends of lines.
func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// is reports whether b is the word, which is in small letters.
func is(b []byte, word string) bool { return sameFold(b, word) }

// sameFold compares ASCII regardless of case.
func sameFold[T []byte | string](b T, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(word) {
		if b[i] != word[i] && lower(b[i]) != lower(word[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
