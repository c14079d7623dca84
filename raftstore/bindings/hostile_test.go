package bindings

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/zap"
)

// recorder is a stream that gives what it was made with, and takes whatever is written.
type recorder struct {
	io.Reader
	bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) { return r.Reader.Read(b) }

// hostileStore is a store with a session, to be fed with frames.
func hostileStore(t testing.TB, leads bool) *session {
	s, err := Open(Options{Logger: zap.NewNop(), Clock: newMachine().clock()})
	if err != nil {
		t.Fatal(err)
	}
	s.SetRole(3, leads)
	x := &session{s: s, leads: leads, epoch: 3, top: 3, id: 1, w: newFrameWriter(io.Discard)}
	s.current = x
	if leads {
		fill(t, s, 0, 20)
	}
	return x
}

// Whatever a peer sends ends in an error or in a table that is sound.
func FuzzFrames(f *testing.F) {
	x := hostileStore(f, true)
	for e := x.s.t.lists[0].first; e != nil; e = e.next {
		f.Add(byte(frameRecord), appendRecord(nil, e, nil, 1, time.Second))
		f.Add(byte(frameRefresh), appendRefresh(nil, e, time.Second))
	}
	f.Add(byte(framePosition), binary.AppendVarint(binary.AppendVarint(nil, 5), -7))
	f.Add(byte(frameCheck), append([]byte{3}, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(byte(frameDiffers), x.s.t.appendDigests(nil))
	f.Add(byte(frameBucket), x.s.t.listBucket(4))
	f.Add(byte(frameWant), []byte{4, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(byte(frameAck), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		for _, leads := range []bool{true, false} {
			x := hostileStore(t, leads)
			for range 2 {
				if err := x.handle(frameType(kind), &reader{b: bytes.Clone(payload)}); err != nil && !errors.Is(err, errProtocol) {
					t.Errorf("got %v", err)
				}
				x.batch()
			}
			sound(t, x.s.t)
		}
	})
}

// sound checks that a table's counts are those of its records, and that it can be written and read.
func sound(t *testing.T, table *table) {
	t.Helper()
	records, digest, listed := 0, uint64(0), 0
	for i := range table.buckets {
		for aor, e := range table.buckets[i].records {
			r := e.record()
			if len(r.Bindings) != int(e.size) || e.aor != aor || bucketOf(aor) != i {
				t.Fatalf("record of %q: %d bindings, counted %d", aor, len(r.Bindings), e.size)
			}
			if e.size > 0 {
				records++
				digest ^= e.digest
			}
		}
	}
	for i := range table.lists {
		last := Version(0)
		for e := table.lists[i].first; e != nil; e = e.next {
			if e.version < last || e.version.Author() != Author(i) {
				t.Fatalf("list %d: %v after %v", i, e.version, last)
			}
			last = e.version
			listed++
		}
	}
	if records != table.records || digest != table.digest || listed != table.records+table.gone {
		t.Errorf("%d records, counted %d; %d in the lists, %d gone", records, table.records, listed, table.gone)
	}
}

// A stream of garbage, and frames of any length, end in an error without much memory.
func FuzzFrameReader(f *testing.F) {
	var good bytes.Buffer
	w := newFrameWriter(&good)
	if err := errors.Join(w.write(frameHello, hello{epoch: 4}.append(nil)), w.flush()); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(&recorder{Reader: bytes.NewReader(b)})
		for {
			_, body, err := r.read()
			if err != nil {
				break
			}
			_, _ = body.hello()
		}
		if cap(r.payload) > 2*maxFrame {
			t.Errorf("%d octets held", cap(r.payload))
		}
	})
}

// A file of anything is read as far as it makes sense.
func FuzzReadKept(f *testing.F) {
	x := hostileStore(f, true)
	b := keptFrame([]byte(fileHead), keptTime, newMachine().clock().mark().append(nil))
	for e := x.s.t.lists[0].first; e != nil; e = e.next {
		b = keptRecordOf(b, e, nil)
	}
	f.Add(keptFrame(keptFrame(b, keptMeta, meta{us: 1}.append(nil)), keptEnd))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := newTable(0)
		k, err := readKept(bytes.NewReader(b), int64(len(b)), newMachine().clock(), func(r Record) { table.put(r, true, 0) }, func(meta) {})
		if err != nil || k.good+k.rest != int64(len(b)) {
			t.Errorf("%+v of %d octets: %v", k, len(b), err)
		}
		sound(t, table)
	})
}
