package sip

import (
	"bytes"
	"math"
)

// CallID gives the Call-ID, nil without one.
func (m *Message) CallID() []byte {
	value, _ := m.value(callID)
	return value
}

// CSeq gives number and method of the CSeq. ok is false if there is none, or no number of 32 bits and a method in it.
func (m *Message) CSeq() (num uint32, method []byte, ok bool) {
	value, _ := m.value(cseq)
	n, digits := number(value)
	method = trim(value[digits:])
	if digits == 0 || n > math.MaxUint32 || len(method) == 0 || len(method)+digits == len(value) || tokenLength(method) != len(method) {
		return 0, nil, false
	}
	return uint32(n), method, true
}

// TopViaBranch gives the branch of the topmost Via, which names the transaction (RFC 3261 17.2.3); nil without one.
func (m *Message) TopViaBranch() []byte {
	line, _ := m.value(via)
	var q quoting
	for {
		i := q.until(line, ';', ',')
		if i == len(line) || line[i] == ',' {
			return nil
		}
		line = line[i+1:]
		key, value, _ := bytes.Cut(line[:q.until(line, ';', ',')], []byte("="))
		if is(trim(key), "branch") {
			return unquote(trim(value))
		}
	}
}

// FromTag gives the tag of From, nil without one.
func (m *Message) FromTag() []byte { return m.tag(from) }

// ToTag gives the tag of To, nil without one: then the message is not inside a dialog.
func (m *Message) ToTag() []byte { return m.tag(to) }

func (m *Message) tag(k kind) []byte {
	value, _ := m.value(k)
	_, params := Address(value)
	tag, _ := Param(params, "tag")
	return tag
}

// Expires gives the Expires header, in seconds. ok is false if there is none or no number in it (RFC 3261 20.19). What exceeds 32 bits
// becomes the largest of them.
func (m *Message) Expires() (seconds uint32, ok bool) { return m.seconds(expires) }

// RetryAfter gives the Retry-After header, in seconds; a comment and parameters after it do not matter (RFC 3261 20.33). ok as in Expires.
func (m *Message) RetryAfter() (seconds uint32, ok bool) { return m.seconds(retryAfter) }

func (m *Message) seconds(k kind) (uint32, bool) {
	value, _ := m.value(k)
	return seconds(value)
}

func seconds(value []byte) (uint32, bool) {
	n, digits := number(value)
	return uint32(min(n, math.MaxUint32)), digits > 0
}
