package bindings

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// A record is kept, stored and sent in one form:
//
//	uvarint number of bindings, then of each
//	8 octets version of its last change, 4 octets moment of expiry in seconds (on the clock of whoever holds the record),
//	uvarint CSeq, q + 1, reg-id, flags, branch flags, complement of the methods,
//	Contact, Call-ID, User-Agent, Received, Path, socket, instance, each a uvarint length and as many octets.
//
// Little-endian.

const (
	stampLen = 8 + 4
	second   = time.Second
)

// Limits of what is accepted, from a peer, a file or a server. They bound memory, and what one phone can do to the others.
const (
	MaxBindings = 128      // of one address of record
	MaxRecord   = 32 << 10 // octets of one record, and of what is told of removals with it
	MaxAOR      = 1 << 10  // octets of an address of record
)

var (
	errCorrupt = errors.New("record is damaged")
	// ErrTooLarge reports an address of record with more bindings, or longer ones, than the limits allow.
	ErrTooLarge = errors.New("record is too large")
)

var le = binary.LittleEndian

// encode encodes the bindings of a record, and gives the digest of the record: it covers everything but the moments of expiry, which
// differ from clock to clock.
func encode(r *Record) (blob []byte, digest uint64) {
	blob, moments := appendBindings(make([]byte, 0, 256), r.Bindings)
	for _, at := range moments {
		le.PutUint32(blob[at:], 0)
	}
	var h xxhash.Digest
	h.Reset()
	_, _ = h.WriteString(r.AOR)
	var version [8]byte
	le.PutUint64(version[:], uint64(r.Version))
	_, _ = h.Write(version[:])
	_, _ = h.Write(blob)
	for i, at := range moments {
		le.PutUint32(blob[at:], seconds(r.Bindings[i].Expires))
	}
	return slices.Clip(blob), h.Sum64()
}

// appendBindings encodes bindings, and tells where the moments of expiry are.
func appendBindings(b []byte, bindings []Binding) (_ []byte, moments []int) {
	b = binary.AppendUvarint(b, uint64(len(bindings)))
	for i := range bindings {
		x := &bindings[i]
		b = le.AppendUint64(b, uint64(x.Changed))
		moments = append(moments, len(b))
		b = le.AppendUint32(b, seconds(x.Expires))
		for _, n := range []uint32{x.CSeq, uint32(x.Q + 1), x.RegID, x.Flags, x.Branch, ^x.Methods} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		for _, s := range []string{x.Contact, x.CallID, x.UserAgent, x.Received, x.Path, x.Socket, x.Instance} {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	}
	return b, moments
}

// seconds is a moment, rounded up: a binding is never gone before its time.
func seconds(d time.Duration) uint32 {
	return uint32(max(0, min((d+second-1)/second, 1<<32-1)))
}

// reader takes an encoding apart. After an error everything it gives is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.bad = true
	}
	return uint32(v)
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) stamp() (changed Version, expires time.Duration) {
	if b := r.take(stampLen); b != nil {
		return Version(le.Uint64(b)), time.Duration(le.Uint32(b[8:])) * second
	}
	return 0, 0
}

// bindings decodes the bindings of a record.
func (r *reader) bindings() []Binding {
	n := r.uvarint()
	if n > MaxBindings {
		r.bad = true
	}
	var all []Binding
	for range n {
		if r.bad {
			return nil
		}
		var x Binding
		x.Changed, x.Expires = r.stamp()
		x.CSeq, x.Q, x.RegID = r.uint32(), int(r.uint32())-1, r.uint32()
		x.Flags, x.Branch, x.Methods = r.uint32(), r.uint32(), ^r.uint32()
		x.Contact, x.CallID, x.UserAgent, x.Received, x.Path = r.text(), r.text(), r.text(), r.text(), r.text()
		x.Socket, x.Instance = r.text(), r.text()
		all = append(all, x)
	}
	return all
}

// checkSize reports whether a record is within the limits.
func checkSize(aor string, now []location.Binding) error {
	size := 0
	for i := range now {
		size += sizeOf(&now[i])
	}
	if len(now) > MaxBindings || size > MaxRecord || len(aor) > MaxAOR || aor == "" {
		return ErrTooLarge
	}
	return nil
}

// sizeOf is at least what a binding takes.
func sizeOf(b *location.Binding) int {
	const others = 64 // octets of numbers and lengths
	return others + len(b.Contact) + len(b.CallID) + len(b.UserAgent) + len(b.Received) + len(b.Path) + len(b.Socket) + len(b.Instance)
}
