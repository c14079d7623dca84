package wire

import "bytes"

// mostChallenges bounds how many challenges of a reply are looked at.
const mostChallenges = 4

// Reply is what probes need of a SIP response. Its slices point into the datagram.
type Reply struct {
	Code       int
	Branch     []byte                 // of the top Via
	CallID     []byte                 // nil without one
	CSeq       []byte                 // nil without one
	RetryAfter []byte                 // of a 503, nil without one
	Challenges [mostChallenges][]byte // WWW-Authenticate of a 401, Proxy-Authenticate of a 407
}

// ParseReply reads a SIP response, without allocating and as tolerantly as RFC 4475 teaches: line ends of LF alone, no reason phrase,
// compact and folded headers, spaces wherever someone once put them, rubbish in every header that we do not need. ok is false
// for requests and for what is no SIP.
func ParseReply(b []byte) (r Reply, ok bool) {
	line, rest := cutLine(skipCRLF(b))
	if r.Code, ok = statusCode(line); !ok {
		return Reply{}, false
	}
	var via []byte
	challenges := 0
	for len(rest) > 0 {
		var header []byte
		header, rest = cutHeader(rest)
		if len(header) == 0 {
			break
		}
		name, value, found := bytes.Cut(header, []byte(":"))
		if !found {
			continue
		}
		name, value = trim(name), trim(value)
		switch {
		case via == nil && (is(name, "via") || is(name, "v")):
			via = value
		case r.CallID == nil && (is(name, "call-id") || is(name, "i")):
			r.CallID = value
		case r.CSeq == nil && is(name, "cseq"):
			r.CSeq = value
		case r.Code == 503 && r.RetryAfter == nil && is(name, "retry-after"):
			r.RetryAfter = value
		case challenges < mostChallenges && (r.Code == 401 && is(name, "www-authenticate") || r.Code == 407 && is(name, "proxy-authenticate")):
			r.Challenges[challenges] = value
			challenges++
		}
	}
	r.Branch = branch(via)
	return r, true
}

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
