package device

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/understudy-sip/understudy/oos/wire"
)

const (
	magic       = "z9hG4bK" // RFC 3261 8.1.1.7
	tokenDigits = 16
	wordDigits  = 8
)

// request makes one device's OPTIONS (RFC 3261 11). Each probe is a call of its own, and each request of it a transaction of its own: the
// branch is magic, the token, the device's number and the transaction's number. The token can't be guessed, and no other device sees it.
type request struct {
	uri   string
	to    string
	via   string // transport in capitals
	hops  string
	token [tokenDigits]byte
	slot  uint32
	seq   uint32 // of the newest transaction
	call  uint32 // of the first transaction of the newest probe
}

func newRequest(p site, hops int, slot uint32) request {
	r := request{uri: p.uri, to: p.to, via: strings.ToUpper(string(p.transport)), hops: strconv.Itoa(hops), slot: slot}
	var b [tokenDigits / 2]byte
	_, _ = rand.Read(b[:]) // never fails (package crypto/rand)
	hex.Encode(r.token[:], b[:])
	return r
}

// probe begins a new probe, follow another request of the same.
func (r *request) probe() {
	r.seq++
	r.call = r.seq
}

func (r *request) follow() { r.seq++ }

// cseq is the number in CSeq of the newest transaction.
func (r *request) cseq() uint32 { return r.seq - r.call + 1 }

// append writes the newest transaction's request. host and local are where answers are to go, the latter with the port; auth is
// a header with its line end, or nothing.
func (r *request) append(b []byte, host, local, auth string) []byte {
	b = append(b, "OPTIONS "...)
	b = append(b, r.uri...)
	b = append(b, " SIP/2.0\r\nVia: SIP/2.0/"...)
	b = append(b, r.via...)
	b = append(b, ' ')
	b = append(b, local...)
	b = append(b, ";branch="+magic...)
	b = append(b, r.token[:]...)
	b = appendWord(b, r.slot)
	b = appendWord(b, r.seq)
	b = append(b, ";rport\r\nMax-Forwards: "...)
	b = append(b, r.hops...)
	b = append(b, "\r\nFrom: <sip:understudy@"...)
	b = append(b, host...)
	b = append(b, ">;tag="...)
	b = appendWord(b, r.call)
	b = append(b, "\r\nTo: <"...)
	b = append(b, r.to...)
	b = append(b, ">\r\nCall-ID: "...)
	b = append(b, r.token[:]...)
	b = appendWord(b, r.call)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendUint(b, uint64(r.cseq()), 10)
	b = append(b, " OPTIONS\r\n"...)
	b = append(b, auth...)
	return append(b, "User-Agent: understudy\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"...)
}

// appendWord appends 8 hexadecimal digits.
func appendWord(b []byte, w uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[w>>shift&15])
	}
	return b
}

// word reads 8 hexadecimal digits in lower case.
func word(b []byte) (w uint32, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			w = w<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			w = w<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return w, len(b) == wordDigits
}

// mark is what a branch of ours says.
type mark struct {
	token     []byte
	slot, seq uint32
}

const branchLength = len(magic) + tokenDigits + 2*wordDigits

// readMark reads a branch. It may be ours, or only look so: the token tells.
func readMark(branch []byte) (m mark, ok bool) {
	rest, ok := bytes.CutPrefix(branch, []byte(magic))
	if !ok || len(branch) != branchLength {
		return mark{}, false
	}
	slot, okSlot := word(rest[tokenDigits : tokenDigits+wordDigits])
	seq, okSeq := word(rest[tokenDigits+wordDigits:])
	return mark{rest[:tokenDigits], slot, seq}, okSlot && okSeq
}

// quoted finds the mark in what an ICMP message quotes of a request, which may end anywhere.
func quoted(b []byte) (m mark, ok bool) {
	_, rest, ok := bytes.Cut(b, []byte(";branch="))
	if !ok || len(rest) < branchLength {
		return mark{}, false
	}
	return readMark(rest[:branchLength])
}

// is reports whether a mark is that of the newest transaction.
func (r *request) is(m mark) bool {
	return m.slot == r.slot && m.seq == r.seq && bytes.Equal(m.token, r.token[:])
}

// answeredBy reports whether a reply with the mark of the newest transaction is whole: with its Call-ID and CSeq (RFC 3261 17.1.3).
func (r *request) answeredBy(y *wire.Reply) bool {
	call, ok := bytes.CutPrefix(y.CallID, r.token[:])
	if !ok {
		return false
	}
	if n, ok := word(call); !ok || n != r.call {
		return false
	}
	number, ok := bytes.CutSuffix(y.CSeq, []byte("OPTIONS"))
	if !ok || len(bytes.TrimSpace(number)) == len(number) {
		return false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(number)), 10, 31)
	return err == nil && uint32(n) == r.cseq()
}
