package sip

import (
	"bytes"
	"encoding/binary"
)

const version = "sip/2.0" // its case does not matter (RFC 3261 7.1)

// readStartLine reads a request line or a status line. It gives a method or a status; neither if it is no start line of SIP/2.0.
func readStartLine(line []byte) (method, uri []byte, status int) {
	line = trim(line)
	if len(line) > len(version) && is(line[:len(version)], version) {
		return nil, nil, statusOf(line[len(version):])
	}
	n := tokenLength(line)
	end := len(line) - len(version)
	if n == 0 || end <= n || !isBlank(line[n]) || !isBlank(line[end-1]) || !is(line[end:], version) {
		return nil, nil, 0
	}
	if uri = trim(line[n:end]); len(uri) == 0 {
		return nil, nil, 0
	}
	return line[:n:n], uri, 0
}

func isStartLine(line []byte) bool {
	method, _, status := readStartLine(line)
	return method != nil || status > 0
}

// statusOf reads what follows the version in a status line, 0 if that is no status.
func statusOf(b []byte) int {
	rest := trim(b)
	n, digits := number(rest)
	if len(rest) == len(b) || digits != 3 || n < 100 || n > 699 || (len(rest) > 3 && !isBlank(rest[3])) {
		return 0
	}
	return int(n)
}

// isKeepAlive knows what clients send to keep a NAT's binding.
func isKeepAlive(b []byte) bool {
	return len(bytes.Trim(b, "\r\n\t \x00")) == 0 || isSTUN(b)
}

// isSTUN knows STUN bindings, requests, indications and responses alike (RFC 5389 6), also the older kind without the magic cookie (RFC
// 3489): its length has to be right.
func isSTUN(b []byte) bool {
	const header = 20
	return len(b) >= header && binary.BigEndian.Uint16(b)&^0x0110 == 1 && int(binary.BigEndian.Uint16(b[2:]))+header == len(b)
}

// skipEmptyLines gives the length of the empty lines at the beginning of b (RFC 3261 7.5).
func skipEmptyLines(b []byte) int {
	for i, c := range b {
		if c != '\r' && c != '\n' {
			return i
		}
	}
	return len(b)
}

// cutLine gives the first line of b without its end, and where the next one begins.
func cutLine(b []byte) (line []byte, next int) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, len(b)
	}
	return b[:i], i + 1
}

// tokenLength gives the length of the token (RFC 3261 25.1) at the beginning of b.
func tokenLength(b []byte) int {
	for i, c := range b {
		if !isToken(c) {
			return i
		}
	}
	return len(b)
}

// tokens has a bit for each octet below 128 that a token may have.
var tokens = func() (set [2]uint64) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~") {
		set[c>>6] |= 1 << (c & 63)
	}
	return set
}()

func isToken(c byte) bool { return c < 128 && tokens[c>>6]>>(c&63)&1 != 0 }
