package bindings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// A table is kept in a snapshot and logs, numbered: snapshot n holds all that the logs before n hold. Each file is a head and then frames: a
// CRC-32C and a length, 4 octets each, then as many octets, of which the first is the kind. Of an address of record the latest version
// counts, wherever it stands: the logs go on while a snapshot is written.
const (
	fileHead     = "understudy registrations 1\n"
	snapshotName = "registrations-%d.snapshot"
	logName      = "registrations-%d.log"
)

// Kinds of frames in a file.
const (
	keptTime   = 'T' // the time by the clocks: moments after it are by that one of these that counts from the machine's start
	keptRecord = 'R' // a record
	keptMeta   = 'M' // identities of both tables, and what we have of the peer's changes
	keptEnd    = 'E' // the snapshot is whole
)

const (
	maxKept      = 2*MaxRecord + MaxAOR + 256
	compactLeast = 4 << 20 // octets of log before a snapshot is worth it
	compactRatio = 2       // and at least so many times what the last snapshot took
	mostLogs     = 8       // that may be left of earlier runs
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keptFrame encodes a frame of a file.
func keptFrame(b []byte, kind byte, payload ...[]byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	for _, p := range payload {
		b = append(b, p...)
	}
	body := b[at+8:]
	le.PutUint32(b[at:], crc32.Checksum(body, castagnoli))
	le.PutUint32(b[at+4:], uint32(len(body)))
	return b
}

// appendTime and time are the payload of keptTime.
func (m timeMark) append(b []byte) []byte {
	b = le.AppendUint64(b, uint64(m.Now))
	b = le.AppendUint64(b, uint64(m.Wall.UnixNano()))
	return append(b, m.Boot...)
}

func (r *reader) timeMark() timeMark {
	m := timeMark{Now: time.Duration(r.uint64()), Wall: time.Unix(0, int64(r.uint64()))}
	m.Boot = string(r.take(uint64(len(r.b))))
	return m
}

// meta is what a table is, but for its records.
type meta struct {
	us       Author
	id, peer uint64  // of the tables
	theirs   Version // of the peer's changes we have all up to this
	ours     Version // of our own too; all of them if it is as high as can be
}

func (m meta) append(b []byte) []byte {
	b = append(b, byte(m.us))
	for _, v := range []uint64{m.id, m.peer, uint64(m.theirs), uint64(m.ours)} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func (r *reader) meta() meta {
	return meta{us: Author(r.byte()), id: r.uint64(), peer: r.uint64(), theirs: Version(r.uint64()), ours: Version(r.uint64())}
}

// kept is a file as it was read.
type kept struct {
	ended bool  // with keptEnd
	good  int64 // octets that make sense
	rest  int64 // octets after these
}

// readKept reads a file up to where it makes no sense any more. each gets each record, its moments by our clock.
func readKept(f io.Reader, size int64, clock Clock, each func(Record), about func(meta)) (k kept, err error) {
	head := make([]byte, len(fileHead))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != fileHead {
		return kept{rest: size}, nil
	}
	k.good = int64(len(head))
	var shift time.Duration
	frame := make([]byte, 8)
	for {
		k.rest = size - k.good
		if _, err := io.ReadFull(f, frame); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return k, nil
		} else if err != nil {
			return k, err
		}
		n := le.Uint32(frame[4:])
		if n == 0 || n > maxKept || int64(n) > k.rest-8 {
			return k, nil
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(f, body); err != nil {
			return k, err
		}
		if crc32.Checksum(body, castagnoli) != le.Uint32(frame) {
			return k, nil
		}
		r := &reader{b: body[1:]}
		switch body[0] {
		case keptTime:
			shift = clock.since(r.timeMark())
		case keptRecord:
			rec := Record{AOR: r.text(), Version: Version(r.uint64()), Bindings: r.bindings(), Gone: r.bindings()}
			if r.bad || rec.AOR == "" {
				return k, nil
			}
			for i := range rec.Bindings {
				rec.Bindings[i].Expires = max(0, rec.Bindings[i].Expires+shift)
			}
			each(rec)
		case keptMeta:
			if m := r.meta(); !r.bad {
				about(m)
			}
		case keptEnd:
			k.ended = true
		}
		k.good += 8 + int64(n)
	}
}

// keptRecordOf encodes an entry, and what it has lost that the peer may still have.
func keptRecordOf(b []byte, e *entry, gone []Binding) []byte {
	aor := append(binary.AppendUvarint(nil, uint64(len(e.aor))), e.aor...)
	blob := e.blob
	if e.size == 0 {
		blob = []byte{0}
	}
	lost, _ := appendBindings(nil, gone)
	return keptFrame(b, keptRecord, le.AppendUint64(aor, uint64(e.version)), blob, lost)
}

// journal keeps a table in a folder. One goroutine at a time.
type journal struct {
	dir      string
	log      *zap.Logger
	clock    Clock
	number   int // of the log
	file     *os.File
	size     int64 // of the log
	older    int64 // of the logs before it that no snapshot stands for
	logs     int   // how many these are
	snapshot int64 // octets of the last
}

func (j *journal) path(format string, n int) string {
	return filepath.Join(j.dir, fmt.Sprintf(format, n))
}

// numbers lists the files of one kind.
func (j *journal) numbers(format string) ([]int, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	prefix, suffix, _ := strings.Cut(format, "%d")
	var all []int
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), prefix)
		if middle, ok2 := strings.CutSuffix(middle, suffix); ok && ok2 {
			if n, err := strconv.Atoi(middle); err == nil && n >= 0 {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// loaded is what was found in a folder.
type loaded struct {
	meta    meta
	any     bool     // there was something
	damaged []string // files that were set aside: what they held may be missing
	highest Version  // of our own
}

// load reads the newest snapshot and the logs from it on. Files that make no sense are set aside, and named.
func (j *journal) load(us Author, each func(Record)) (l loaded, err error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return l, err
	}
	snapshots, err := j.numbers(snapshotName)
	if err != nil {
		return l, err
	}
	logs, err := j.numbers(logName)
	if err != nil {
		return l, err
	}
	take := func(r Record) {
		if r.Version.Author() == us {
			l.highest = max(l.highest, r.Version)
		}
		each(r)
	}
	about := func(m meta) { l.meta, l.any = m, true }
	from := 0
	for _, n := range slices.Backward(snapshots) {
		k, err := j.read(j.path(snapshotName, n), take, about)
		if err != nil {
			return l, err
		}
		if k.ended && k.rest == 0 && (!l.any || l.meta.us == us) {
			from = n
			j.snapshot = k.good
			break
		}
		if err := j.setAside(&l, j.path(snapshotName, n)); err != nil {
			return l, err
		}
	}
	for i, n := range logs {
		j.number = max(j.number, n)
		if n < from {
			continue
		}
		path := j.path(logName, n)
		k, err := j.read(path, take, about)
		if err != nil {
			return l, err
		}
		// A write that the end of the machine cut short leaves less than one frame.
		switch torn := k.rest <= maxKept && i == len(logs)-1 && (k.good > 0 || k.rest <= int64(len(fileHead))); {
		case k.rest > 0 && torn:
			if err := os.Truncate(path, k.good); err != nil {
				return l, err
			}
		case k.rest > 0:
			if err := j.setAside(&l, path); err != nil {
				return l, err
			}
			continue
		}
		j.older += k.good
		j.logs++
	}
	if len(snapshots) > 0 {
		j.number = max(j.number, snapshots[len(snapshots)-1])
	}
	return l, nil
}

func (j *journal) read(path string, each func(Record), about func(meta)) (kept, error) {
	f, err := os.Open(path)
	if err != nil {
		return kept{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return kept{}, err
	}
	return readKept(f, info.Size(), j.clock, each, about)
}

// setAside renames a file that makes no sense.
func (j *journal) setAside(l *loaded, path string) error {
	to := fmt.Sprintf("%s.corrupt-%s", path, j.clock.Wall().UTC().Format("20060102T150405Z"))
	if err := os.Rename(path, to); err != nil {
		return err
	}
	j.log.Error("registrations on disk are damaged: set aside, the other member fills in", zap.String("file", filepath.Base(to)))
	l.damaged = append(l.damaged, to)
	return nil
}

// begin begins the next log. The one before it stays in use if that fails.
func (j *journal) begin(m meta) error {
	path := j.path(logName, j.number+1)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	head := keptFrame([]byte(fileHead), keptMeta, m.append(nil))
	if _, err = f.Write(head); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	if j.file != nil {
		_ = j.file.Close() // all of it is on disk
	}
	j.number++
	j.older += j.size
	j.file, j.size = f, int64(len(head))
	return nil
}

// worth reports whether a snapshot would save much.
func (j *journal) worth() bool {
	return j.older+j.size > max(compactLeast, compactRatio*j.snapshot) || j.logs > mostLogs
}

// write appends octets, and waits until they are on disk. What could not be written as a whole is taken back.
func (j *journal) write(b []byte) error {
	_, err := j.file.WriteAt(b, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(b))
	return nil
}

// compacted takes note of a snapshot of so many octets that stands for all logs but the current one.
func (j *journal) compacted(size int64) error {
	j.snapshot, j.older, j.logs = size, 0, 0
	return j.removeBefore(j.number)
}

// removeBefore removes the files that a snapshot stands for.
func (j *journal) removeBefore(n int) error {
	var errs []error
	for _, format := range []string{snapshotName, logName} {
		all, err := j.numbers(format)
		errs = append(errs, err)
		for _, old := range all {
			if old < n {
				errs = append(errs, os.Remove(j.path(format, old)))
			}
		}
	}
	return errors.Join(errs...)
}
