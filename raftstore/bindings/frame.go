package bindings

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// A stream between two members is a sequence of frames, each a type, a uvarint length and as many octets, all of it deflated.
type frameType byte

const (
	frameHello    frameType = iota + 1 // who the sender is and what it has: hello
	frameRecord                        // a record in full
	frameRefresh                       // a record that was in this stream already: what a refresh changed
	framePosition                      // the end of a batch: the records of each author up to a version have all been in the stream
	frameOffered                       // a backup has sent everything that the primary does not have
	frameAck                           // a batch has arrived: what the sender has of each author
	frameCheck                         // the primary's digest at this point of the stream
	frameSame                          // the backup's is equal
	frameDiffers                       // it is not: the digests of its buckets
	frameBucket                        // what the primary has in a bucket: digests of records
	frameWant                          // of these the backup wants some
)

// maxFrame bounds what one frame takes in memory. A bucket of 60,000 records fits: 60 million in all.
const maxFrame = 1 << 20

var errProtocol = errors.New("peer sends what makes no sense")

// counted counts octets.
type counted struct {
	io.ReadWriter
	in, out *atomic.Uint64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadWriter.Read(b)
	c.in.Add(uint64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ReadWriter.Write(b)
	c.out.Add(uint64(n))
	return n, err
}

// level is that of deflate: 1 costs a third more octets, more than 2 saves little.
const level = 2

// frameWriter writes frames. Nothing leaves before flush.
type frameWriter struct {
	deflate *flate.Writer
	buf     *bufio.Writer
	head    []byte
	pending int // octets since the last flush, before they are deflated
}

func newFrameWriter(w io.Writer) *frameWriter {
	buf := bufio.NewWriterSize(w, 64<<10)
	deflate, err := flate.NewWriter(buf, level)
	if err != nil {
		panic(err) // the level is valid
	}
	return &frameWriter{deflate: deflate, buf: buf}
}

func (w *frameWriter) write(t frameType, payload []byte) error {
	w.head = binary.AppendUvarint(append(w.head[:0], byte(t)), uint64(len(payload)))
	if _, err := w.deflate.Write(w.head); err != nil {
		return err
	}
	_, err := w.deflate.Write(payload)
	w.pending += len(w.head) + len(payload)
	return err
}

func (w *frameWriter) flush() error {
	if w.pending == 0 {
		return nil
	}
	w.pending = 0
	if err := w.deflate.Flush(); err != nil {
		return err
	}
	return w.buf.Flush()
}

// frameReader reads frames.
type frameReader struct {
	r       *bufio.Reader
	payload []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(flate.NewReader(bufio.NewReaderSize(r, 64<<10)), 16<<10)}
}

// read gives the next frame. Its payload is valid until the next.
func (r *frameReader) read() (frameType, *reader, error) {
	t, err := r.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return 0, nil, err
	}
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d octets", errProtocol, n)
	}
	r.payload = slices.Grow(r.payload[:0], int(n))[:n]
	if _, err := io.ReadFull(r.r, r.payload); err != nil {
		return 0, nil, err
	}
	return frameType(t), &reader{b: r.payload}, nil
}

// hello opens a stream, in both directions.
type hello struct {
	us    Author
	table uint64     // identity of the sender's table; another after it was lost
	peer  uint64     // of that which it has been talking to
	have  [2]Version // it has all changes up to these, by author
	last  [2]Version // the latest it has, with gaps before them or not
	epoch uint64     // that it knows of
	leads bool       // it is the primary of that epoch
}

func (h hello) append(b []byte) []byte {
	b = append(b, byte(h.us), flag(h.leads))
	for _, v := range []uint64{h.table, h.peer, uint64(h.have[0]), uint64(h.have[1]), uint64(h.last[0]), uint64(h.last[1]), h.epoch} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) hello() (h hello, err error) {
	h.us, h.leads = Author(r.byte()), r.byte() == 1
	h.table, h.peer = r.uint64(), r.uint64()
	h.have = [2]Version{Version(r.uint64()), Version(r.uint64())}
	h.last = [2]Version{Version(r.uint64()), Version(r.uint64())}
	h.epoch = r.uint64()
	if r.bad || h.us > 1 {
		return h, fmt.Errorf("%w: hello", errProtocol)
	}
	return h, nil
}

// appendRecord is a record in full, the moments of expiry as what remains of them.
func appendRecord(b []byte, e *entry, gone []Binding, id uint32, now time.Duration) []byte {
	b = binary.AppendUvarint(b, uint64(id))
	b = append(binary.AppendUvarint(b, uint64(len(e.aor))), e.aor...)
	b = le.AppendUint64(b, uint64(e.version))
	at := len(b)
	if e.size == 0 {
		b = append(b, 0)
	} else {
		b = append(b, e.blob...)
	}
	shift(b[at:], func(moment uint32) uint32 { return moment - min(moment, uint32(now/second)) })
	b, _ = appendBindings(b, gone)
	return b
}

// shift changes the moments of expiry in an encoding.
func shift(blob []byte, change func(uint32) uint32) {
	r := reader{b: blob}
	for range r.uvarint() {
		stamp := r.take(stampLen)
		if r.bad {
			return
		}
		le.PutUint32(stamp[8:], change(le.Uint32(stamp[8:])))
		for range 6 {
			r.uvarint()
		}
		for range 7 {
			r.take(r.uvarint())
		}
	}
}

// record reads a record in full.
func (r *reader) record(now time.Duration) (rec Record, id uint32, err error) {
	size := len(r.b)
	id = r.uint32()
	rec = Record{AOR: r.text(), Version: Version(r.uint64()), Bindings: r.bindings(), Gone: r.bindings()}
	if r.bad || len(r.b) > 0 || rec.AOR == "" || size > maxKept || len(rec.AOR) > MaxAOR {
		return Record{}, 0, fmt.Errorf("%w: %w", errProtocol, errCorrupt)
	}
	for i := range rec.Bindings {
		rec.Bindings[i].Expires += now.Truncate(second)
	}
	return rec, id, nil
}

// appendRefresh is what a refresh changed: version, and CSeq and what remains until expiry of each binding.
func appendRefresh(b []byte, e *entry, now time.Duration) []byte {
	b = binary.AppendUvarint(b, uint64(e.id))
	b = le.AppendUint16(b, uint16(e.sent)) // enough to notice that the peer has something else
	b = binary.AppendUvarint(b, uint64(e.version-e.sent))
	for _, x := range e.record().Bindings {
		b = binary.AppendUvarint(b, uint64(e.version-x.Changed))
		b = binary.AppendUvarint(b, uint64(x.CSeq))
		b = binary.AppendUvarint(b, uint64(max(0, x.Expires-now.Truncate(second))/second))
	}
	return b
}

// refresh applies what a refresh changed to a record; ok is false if that is not the record that the sender means.
func (r *reader) refresh(rec *Record, now time.Duration) (ok bool, err error) {
	if r.uint16() != uint16(rec.Version) {
		return false, nil
	}
	rec.Version += Version(r.uvarint())
	for i := range rec.Bindings {
		x := &rec.Bindings[i]
		x.Changed = rec.Version - Version(r.uvarint())
		x.CSeq = r.uint32()
		x.Expires = now.Truncate(second) + time.Duration(r.uint32())*second
	}
	if r.bad || len(r.b) > 0 {
		return false, fmt.Errorf("%w: refresh", errProtocol)
	}
	return true, nil
}
