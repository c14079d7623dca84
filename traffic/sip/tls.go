package sip

import "encoding/binary"

const (
	recordHeader    = 5
	maxRecord       = 1<<14 + 2048 // RFC 5246 6.2.3; TLS 1.3 allows less
	applicationData = 23
)

// TLSMessage is a good TLSRecords.Least for SIP: no message with its mandatory headers is shorter, and no keep-alive of four octets
// is longer, whatever the cipher adds to it.
const TLSMessage = 128

// TLSRecords counts the TLS records with payload in one direction of a connection: application data (type 23) of at least one octet. What
// they carry it can't know. In TLS 1.3 the encrypted part of the handshake looks like application data as well. It can begin anywhere in a
// connection: it trusts what looks like a record at the very beginning or after a gap, because records mostly begin with
// segments, and elsewhere what another record follows. The zero TLSRecords is ready for use.
type TLSRecords struct {
	Least uint16 // shorter records are not counted; 0 counts all with payload

	head    [recordHeader]byte
	n       int  // octets of head that are there
	left    int  // octets of the record that are to come
	begun   bool // an octet was seen
	trusted bool
	inRow   int // records complete since the last octet that fitted nowhere
	longest int // the largest inRow
	pending int // payload records seen and not yet trusted
}

// Feed takes the next octets and gives how many records with payload became complete with them. The sum does not depend on how the
// octets were cut.
func (t *TLSRecords) Feed(b []byte) (payloadRecords int) {
	for len(b) > 0 {
		if t.left > 0 {
			n := min(t.left, len(b))
			b = b[n:]
			if t.left -= n; t.left == 0 {
				payloadRecords += t.complete()
			}
			continue
		}
		c := b[0]
		b = b[1:]
		if t.n == 0 && t.begun && !t.trusted && t.inRow == 0 && !isRecordType(c) {
			continue // the usual octet of a search
		}
		payloadRecords += t.take(c)
	}
	return payloadRecords
}

// Gap tells that octets are missing before those that Feed gets next.
func (t *TLSRecords) Gap() { *t = TLSRecords{Least: t.Least} }

// Synced reports whether records follow one another here.
func (t *TLSRecords) Synced() bool { return t.trusted && t.inRow > 0 }

// take takes an octet of a header.
func (t *TLSRecords) take(c byte) (payloadRecords int) {
	if !t.begun {
		t.begun, t.trusted = true, true
	}
	t.head[t.n] = c
	t.n++
	for t.n > 0 && !isRecordHeader(t.head[:t.n]) {
		t.trusted, t.inRow, t.pending = false, 0, 0
		t.n = copy(t.head[:], t.head[1:t.n])
	}
	if t.n < recordHeader {
		return 0
	}
	t.n = 0
	if !t.trusted && t.inRow > 0 {
		t.trusted = true
		payloadRecords, t.pending = t.pending, 0
	}
	if t.left = t.length(); t.left == 0 {
		payloadRecords += t.complete()
	}
	return payloadRecords
}

// complete takes the end of a record.
func (t *TLSRecords) complete() (payloadRecords int) {
	t.inRow++
	t.longest = max(t.longest, t.inRow)
	if t.head[0] != applicationData || t.length() < max(1, int(t.Least)) {
		return 0
	}
	if !t.trusted {
		t.pending++
		return 0
	}
	return 1
}

func (t *TLSRecords) length() int { return int(binary.BigEndian.Uint16(t.head[3:])) }

// isRecordHeader reports whether a record's header can begin so (RFC 8446 5.1). Only application data may be empty.
func isRecordHeader(h []byte) bool {
	if !isRecordType(h[0]) || (len(h) == 2 && h[1] != 3) || (len(h) > 2 && !isRecordVersion(h[1], h[2])) {
		return false
	}
	if len(h) < recordHeader {
		return true
	}
	n := binary.BigEndian.Uint16(h[3:])
	return n <= maxRecord && (n > 0 || h[0] == applicationData)
}

func isRecordType(c byte) bool { return c >= 20 && c <= 24 }

func isRecordVersion(major, minor byte) bool { return major == 3 && minor <= 4 }
