package oos

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
)

const (
	magic      = "z9hG4bK" // RFC 3261 8.1.1.7
	seqDigits  = 8
	remembered = 64 // probes of which an answer is still recognised
)

// message is a ready OPTIONS request (RFC 3261 11). Every probe is a transaction of its own: only the last digits of branch and
// Call-ID change, in place.
type message struct {
	octets []byte
	branch int    // where its digits are
	callID int    // where its digits are
	token  []byte // unguessable part of branch and Call-ID

	seq    uint32
	sentAt [remembered]time.Duration
	open   uint64 // bit seq%remembered: not answered yet
}

func newMessage(t Transport, local, remote netip.AddrPort) *message {
	m := &message{token: randomToken()}
	uri := "sip:" + remote.String()
	if t != UDP {
		uri += ";transport=" + string(t)
	}
	digits := strings.Repeat("0", seqDigits)
	head := fmt.Sprintf("OPTIONS %s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=%s%s", uri, strings.ToUpper(string(t)), local, magic, m.token)
	m.branch = len(head)
	head += fmt.Sprintf("%s\r\nMax-Forwards: 70\r\nFrom: <sip:understudy@%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s",
		digits, local, m.token, uri, m.token)
	m.callID = len(head)
	m.octets = []byte(head + digits + "\r\nCSeq: 1 OPTIONS\r\nUser-Agent: understudy\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n")
	return m
}

func randomToken() []byte {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (package crypto/rand)
	return hex.AppendEncode(nil, b[:])
}

// next makes the message the next probe. The octets are valid until the next call.
func (m *message) next(now time.Duration) []byte {
	m.seq++
	for i, s := seqDigits-1, m.seq; i >= 0; i, s = i-1, s>>4 {
		digit := "0123456789abcdef"[s&15]
		m.octets[m.branch+i], m.octets[m.callID+i] = digit, digit
	}
	m.sentAt[m.seq%remembered] = now
	m.open |= 1 << (m.seq % remembered)
	return m.octets
}

// identify tells which probe a reply answers. It reads only what never changes.
func (m *message) identify(r wire.Reply) (seq uint32, ok bool) {
	rest, ok := bytes.CutPrefix(r.Branch, []byte(magic))
	if !ok {
		return 0, false
	}
	if r.CallID != nil && !bytes.Equal(r.CallID, rest) {
		return 0, false
	}
	digits, ok := bytes.CutPrefix(rest, m.token)
	if !ok || len(digits) != seqDigits || (r.CSeq != nil && !isCSeq(r.CSeq)) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(digits), 16, 32)
	return uint32(n), err == nil
}

// isCSeq tells whether it is that of every probe.
func isCSeq(v []byte) bool {
	number, ok := bytes.CutSuffix(v, []byte("OPTIONS"))
	return ok && len(bytes.Trim(number, " \t\r\n0")) == 1 && bytes.ContainsRune(number, '1') && len(number) > 1
}

// settle takes a final answer to a probe, once, and gives its round trip time.
func (m *message) settle(seq uint32, now time.Duration) (rtt time.Duration, ok bool) {
	bit := uint64(1) << (seq % remembered)
	if m.seq-seq >= remembered || m.open&bit == 0 {
		return 0, false
	}
	m.open &^= bit
	return now - m.sentAt[seq%remembered], true
}
