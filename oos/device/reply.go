package device

import (
	"bytes"
	"time"
)

// mostChallenges bounds how many challenges of a reply are looked at.
const mostChallenges = 4

// reply is what we need of a SIP response. Its slices point into the datagram.
type reply struct {
	code       int
	branch     []byte // of the top Via
	callID     []byte // nil without one
	cseq       []byte // nil without one
	retry      []byte // Retry-After, nil without one
	challenges [mostChallenges][]byte
}

// parseReply reads a SIP response, without allocating and as tolerantly as RFC 4475 teaches: line ends of LF alone, no reason phrase,
// compact and folded headers, spaces wherever someone once put them, rubbish in every header that we do not need. ok is false
// for requests and for what is no SIP.
func parseReply(b []byte) (r reply, ok bool) {
	line, rest := cutLine(skipCRLF(b))
	if r.code, ok = statusCode(line); !ok {
		return reply{}, false
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
		case r.callID == nil && (is(name, "call-id") || is(name, "i")):
			r.callID = value
		case r.cseq == nil && is(name, "cseq"):
			r.cseq = value
		case r.code == 503 && r.retry == nil && is(name, "retry-after"):
			r.retry = value
		case challenges < mostChallenges && (r.code == 401 && is(name, "www-authenticate") || r.code == 407 && is(name, "proxy-authenticate")):
			r.challenges[challenges] = value
			challenges++
		}
	}
	r.branch = branch(via)
	return r, true
}

// retryAfter reads the seconds at the start of Retry-After (RFC 3261 20.33), up to longestFailure. Rubbish is none.
func (r *reply) retryAfter() (d time.Duration, ok bool) {
	for _, c := range r.retry {
		if c < '0' || c > '9' {
			break
		}
		d, ok = min(d*10+time.Duration(c-'0')*time.Second, longestFailure), true
	}
	return d, ok
}
