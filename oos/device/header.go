package device

import "bytes"

// skipCRLF skips the empty lines that keep connections alive (RFC 3261 7.5).
func skipCRLF(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// cutHeader cuts a header with the lines that continue it (RFC 3261 7.3.1). It is empty where the headers end.
func cutHeader(b []byte) (header, rest []byte) {
	end := 0
	for {
		line, after := cutLine(b[end:])
		if end == 0 && len(line) == 0 {
			return nil, after
		}
		end = len(b) - len(after)
		if len(after) == 0 || (after[0] != ' ' && after[0] != '\t') {
			return b[:end], after
		}
	}
}

func statusCode(line []byte) (int, bool) {
	const version = "SIP/2.0 "
	if len(line) < len(version)+3 || !is(line[:len(version)], version) {
		return 0, false
	}
	code := 0
	for _, c := range line[len(version) : len(version)+3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		code = code*10 + int(c-'0')
	}
	after := line[len(version)+3:]
	return code, code >= 100 && code < 700 && (len(after) == 0 || after[0] == ' ' || after[0] == '\t')
}

// branch finds the parameter in the first value of a Via header.
func branch(via []byte) []byte {
	for {
		i := delimiter(via)
		if i == len(via) || via[i] == ',' {
			return nil
		}
		via = via[i+1:]
		param := via[:delimiter(via)]
		if name, value, ok := bytes.Cut(param, []byte("=")); ok && is(trim(name), "branch") {
			return trim(value)
		}
	}
}

// delimiter finds the first semicolon or comma outside quotes, or the end.
func delimiter(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ','):
			return i
		}
	}
	return len(b)
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func is(b []byte, word string) bool { return bytes.EqualFold(b, []byte(word)) }
