package traffic

import (
	"net/netip"
	"slices"
	"time"
)

// Bounds of what is kept of incomplete datagrams. A flood of fragments pushes the oldest out, which is how long a datagram may take to
// arrive: at 10,000 hostile fragments a second still 100 ms.
const (
	maxDatagrams     = 1024
	maxFragments     = 128     // of one datagram: 64 KB over the smallest path, and some
	maxFragmentBytes = 2 << 20 // in all, what each costs besides its octets included
	fragmentCost     = 64
	maxDatagram      = 65535
	fragmentLife     = 5 * time.Second
)

// reassembler puts fragments together, IPv4 and IPv6. Whatever contradicts itself is dropped as a receiver does (RFC 5722, RFC 8200 4.5).
type reassembler struct {
	held  map[fragmentKey]*datagram
	ring  *datagram // of all that are held; ring.newer is the one that began first
	bytes int
	whole []byte // the last datagram put together
}

type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8 // IPv4: part of the key; IPv6: 0
}

type datagram struct {
	key   fragmentKey
	since time.Duration
	proto uint8 // as the first fragment has it
	parts []part
	size  int // octets held
	end   int // of the datagram, 0 until the last fragment came

	newer, older *datagram
}

type part struct {
	start int
	data  []byte
}

func newReassembler() reassembler {
	ring := &datagram{}
	ring.newer, ring.older = ring, ring
	return reassembler{held: map[fragmentKey]*datagram{}, ring: ring}
}

// add takes a fragment. If that completes the datagram, p becomes it: valid until the next call.
func (r *reassembler) add(p *packet, now time.Duration) bool {
	r.expire(now)
	key := fragmentKey{src: p.src, dst: p.dst, id: p.id}
	if p.src.Is4() {
		key.proto = p.proto
	}
	data := p.payload
	if p.more {
		data = data[:len(data)&^7] // as receivers do
	}
	d := r.held[key]
	if d == nil {
		d = &datagram{key: key, since: now, newer: r.ring, older: r.ring.older}
		d.older.newer, d.newer.older = d, d
		r.held[key] = d
	}
	fits, repeated := d.fits(p.offset, len(data), p.more)
	if repeated {
		return false
	}
	if !fits {
		r.drop(d)
		return false
	}
	d.insert(p, data)
	r.bytes += len(data) + fragmentCost
	if d.end > 0 && d.size == d.end {
		r.build(d, p)
		r.drop(d)
		return true
	}
	for len(r.held) > maxDatagrams || r.bytes > maxFragmentBytes {
		r.drop(r.ring.newer)
	}
	return false
}

// fits reports whether the octets from start on can belong to the datagram, or were all there before.
func (d *datagram) fits(start, length int, more bool) (fits, repeated bool) {
	end := start + length
	if length == 0 || end > maxDatagram || len(d.parts) == maxFragments {
		return false, false
	}
	top := 0
	if n := len(d.parts); n > 0 {
		top = d.parts[n-1].start + len(d.parts[n-1].data)
	}
	switch {
	case d.end > 0 && (end > d.end || !more && end != d.end), !more && end < top:
		return false, false
	}
	for _, q := range d.parts {
		qEnd := q.start + len(q.data)
		if start < qEnd && q.start < end {
			return false, q.start <= start && end <= qEnd
		}
	}
	return true, false
}

func (d *datagram) insert(p *packet, data []byte) {
	at, _ := slices.BinarySearchFunc(d.parts, p.offset, func(q part, start int) int { return q.start - start })
	d.parts = slices.Insert(d.parts, at, part{start: p.offset, data: slices.Clone(data)})
	d.size += len(data)
	if !p.more {
		d.end = p.offset + len(data)
	}
	if p.offset == 0 {
		d.proto = p.proto
	}
}

func (r *reassembler) build(d *datagram, p *packet) {
	r.whole = r.whole[:0]
	for _, q := range d.parts {
		r.whole = append(r.whole, q.data...)
	}
	p.proto, p.payload, p.fragment, p.offset, p.more = d.proto, r.whole, false, 0, false
}

func (r *reassembler) drop(d *datagram) {
	delete(r.held, d.key)
	r.bytes -= d.size + len(d.parts)*fragmentCost
	d.older.newer, d.newer.older = d.newer, d.older
}

// expire forgets what has waited for too long.
func (r *reassembler) expire(now time.Duration) {
	for d := r.ring.newer; d != r.ring && now-d.since > fragmentLife; d = r.ring.newer {
		r.drop(d)
	}
}
