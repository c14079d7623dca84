package bindings

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The tables are compared by the digest of all records, then by those of the buckets, then by those of the records in buckets that differ.

// appendDigests adds the digests of all buckets.
func (t *table) appendDigests(b []byte) []byte {
	b = slices.Grow(b, Buckets*8)
	for i := range t.buckets {
		b = le.AppendUint64(b, t.buckets[i].digest)
	}
	return b
}

// differing are the buckets whose digests are not those that the peer sent.
func (t *table) differing(r *reader) ([]int, error) {
	var found []int
	for i := range t.buckets {
		if r.uint64() != t.buckets[i].digest {
			found = append(found, i)
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: digests", errProtocol)
	}
	return found, nil
}

// listBucket says what is in a bucket: the digest of each record that has bindings.
func (t *table) listBucket(bucket int) []byte {
	b := binary.AppendUvarint(nil, uint64(bucket))
	for _, e := range t.buckets[bucket].records {
		if e.size > 0 {
			b = le.AppendUint64(b, e.digest)
		}
	}
	return b
}

// compareBucket compares a bucket with what the peer has in it. It gives what we want of that, as the body of a frame, and what the peer does
// not have.
func (t *table) compareBucket(bucket int, r *reader) (want []byte, offer []*entry, err error) {
	theirs := map[uint64]bool{}
	for len(r.b) > 0 && !r.bad {
		theirs[r.uint64()] = true
	}
	if r.bad {
		return nil, nil, fmt.Errorf("%w: list of a bucket", errProtocol)
	}
	for _, e := range t.buckets[bucket].records {
		switch {
		case e.size == 0:
		case theirs[e.digest]:
			delete(theirs, e.digest)
		default:
			offer = append(offer, e)
		}
	}
	if len(theirs) > 0 {
		want = binary.AppendUvarint(nil, uint64(bucket))
	}
	for digest := range theirs {
		want = le.AppendUint64(want, digest)
	}
	return want, offer, nil
}
