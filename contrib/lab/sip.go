package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
)

// What the lab needs of SIP (RFC 3261) is so little that it reads and writes the octets itself: a client that asks 500 times a second
// must not be what is measured.

// request is one request of the lab's client. Serial makes its Call-ID, branch and tag its own.
type request struct {
	method string
	target netip.Addr
	from   netip.AddrPort
	serial uint64
	cseq   int
	lines  string // further header lines, each with its CRLF
	user   string // the user of From and To; for OPTIONS "lab"
}

// append adds the message to b.
func (r request) append(b []byte) []byte {
	target := r.target.String()
	if r.target.Is6() {
		target = "[" + target + "]"
	}
	return fmt.Appendf(b, "%s sip:%s SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP %s;branch=z9hG4bK%016x;rport\r\n"+
		"From: <sip:%s@%s>;tag=%016x\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: %016x@lab\r\nCSeq: %d %s\r\nMax-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n",
		r.method, target, r.from, r.serial, r.user, target, r.serial, r.user, target, r.serial, max(r.cseq, 1), r.method, r.lines)
}

// answer is what the client reads of a response.
type answer struct {
	code   int
	serial uint64
	server string // of the X-Server header
}

// serves reports whether the answer is one of a service that works: 486 is what an INVITE of the client gets.
func (a answer) serves() bool { return a.code == 200 || a.code == 486 }

// parseAnswer reads a response to a request of this file. ok is false for anything else.
func parseAnswer(msg []byte) (a answer, ok bool) {
	rest, found := bytes.CutPrefix(msg, []byte("SIP/2.0 "))
	if !found || len(rest) < 3 {
		return a, false
	}
	code, err := strconv.Atoi(string(rest[:3]))
	if err != nil {
		return a, false
	}
	id, _, found := bytes.Cut(header(msg, "Call-ID"), []byte("@"))
	if !found {
		return a, false
	}
	serial, err := strconv.ParseUint(string(id), 16, 64)
	if err != nil {
		return a, false
	}
	return answer{code: code, serial: serial, server: string(header(msg, "X-Server"))}, true
}

// header is the value of the first header line with this name, without the spaces around it; nil if there is none. Compact forms,
// other spellings and folded lines are not looked for: nothing in the lab sends them.
func header(msg []byte, name string) []byte {
	for len(msg) > 0 {
		var line []byte
		line, msg, _ = bytes.Cut(msg, []byte("\r\n"))
		if len(line) == 0 {
			return nil
		}
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}
