package raftstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// disk is the durable half of one run of raft: log, votes and the snapshot in one bbolt file. It serves reads from memory, so that
// raft, which panics when a committed entry can't be read, never meets a bad sector, and it guards every value with a checksum.
//
// The first write that fails closes the disk for good: every later write fails too, reads give entries that do nothing, and Failed
// fires. Raft may then believe what it likes in memory; it persists, promises and applies nothing more, as if the node had died
// just before (DESIGN.md, "A failing disk").
type disk struct {
	path   string
	bolt   *raftboltdb.BoltStore
	before func(op string) error // tests inject faults and delays

	mu     sync.RWMutex
	logs   []raft.Log // consecutive indexes
	stable map[string][]byte
	saved  *savedSnapshot

	writing sync.Mutex
	since   atomic.Int64 // start of the write under way, nanoseconds after origin; 0 without one
	failed  atomic.Pointer[error]
	Failed  chan struct{}
}

const (
	diskFile    = "raft.db"
	bucketConf  = "conf" // raft-boltdb's names
	bucketLogs  = "logs"
	keyTerm     = "CurrentTerm" // raft's names
	keyVoteTerm = "LastVoteTerm"
	keyVoteFor  = "LastVoteCand"
	keySnapshot = "Snapshot"

	// diskReserve is set aside when the file is made: raft's few entries then fit on a disk that others have filled.
	diskReserve = 2 << 20
)

var (
	origin      = time.Now()
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errDiskGone = errors.New("the state folder failed before")
)

// corruptError says that a store can be read but not believed.
type corruptError struct{ err error }

func (e *corruptError) Error() string { return e.err.Error() }
func (e *corruptError) Unwrap() error { return e.err }

// openDisk opens the store, or makes an empty one. What is there is believed only after all of it was checked: else the error is a
// *corruptError.
func openDisk(path string) (*disk, error) {
	content, err := os.ReadFile(path)
	existed := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read store: %w", err)
	}
	if existed {
		if err := checkBoltFile(content, bucketConf, bucketLogs); err != nil {
			return nil, &corruptError{fmt.Errorf("%s is damaged: %w", path, err)}
		}
	}
	d := &disk{path: path, stable: map[string][]byte{}, Failed: make(chan struct{})}
	if existed {
		if err := d.open(true); err != nil {
			return nil, err
		}
		err := guard(d.load)
		d.close()
		if err != nil {
			return nil, &corruptError{fmt.Errorf("%s is damaged: %w", path, err)}
		}
	}
	if err := d.open(false); err != nil {
		return nil, err
	}
	if !existed {
		d.reserve()
	}
	return d, nil
}

// open opens the file. For writing, bbolt changes it at once: what may turn out to be damaged is opened for reading first.
func (d *disk) open(readOnly bool) error {
	// The list of free pages is kept in the file: to rebuild it, bbolt walks the file in a goroutine whose panics end the process.
	options := raftboltdb.Options{Path: d.path, MsgpackUseNewTimeFormat: true, BoltOptions: &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, InitialMmapSize: diskReserve, ReadOnly: readOnly,
	}}
	err := guard(func() (err error) { d.bolt, err = raftboltdb.New(options); return err })
	if err != nil {
		return fmt.Errorf("open store %s: %w", d.path, err)
	}
	return nil
}

// guard runs what touches bbolt's memory map: a panic or a fault in there becomes an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bbolt panicked: %v", p)
		}
	}()
	return fn()
}

// reserve takes disk space before it is needed. A file system that can't is no error.
func (d *disk) reserve() {
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Fallocate(int(f.Fd()), 0, 0, diskReserve) == nil {
		_ = f.Sync()
	}
}

// load reads everything into memory and checks it.
func (d *disk) load() error {
	for _, key := range []string{keyTerm, keyVoteTerm, keyVoteFor, keySnapshot} {
		sealed, err := d.bolt.Get([]byte(key))
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			continue
		} else if err != nil {
			return err
		}
		value, err := unseal(key, sealed)
		if err != nil {
			return err
		}
		d.stable[key] = value
	}
	if b, ok := d.stable[keySnapshot]; ok {
		delete(d.stable, keySnapshot)
		var err error
		if d.saved, err = parseSnapshot(b); err != nil {
			return err
		}
	}
	first, err := d.bolt.FirstIndex()
	if err != nil {
		return err
	}
	last, err := d.bolt.LastIndex()
	if err != nil {
		return err
	}
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := d.bolt.GetLog(i, &l); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if l.Index != i || !bytes.Equal(l.Extensions, sumLog(&l)) {
			return fmt.Errorf("checksum of entry %d is wrong", i)
		}
		l.Extensions = nil
		d.logs = append(d.logs, l)
	}
	return d.checkGap()
}

// checkGap makes sure that snapshot and log join: what the one lacks the other has.
func (d *disk) checkGap() error {
	var covered uint64
	if d.saved != nil {
		covered = d.saved.Meta.Index
	}
	if len(d.logs) > 0 && d.logs[0].Index > covered+1 {
		return fmt.Errorf("entries %d to %d are missing", covered+1, d.logs[0].Index-1)
	}
	return nil
}

func (d *disk) close() {
	if d.bolt != nil {
		_ = guard(d.bolt.Close)
	}
}

// write carries out one change of the file, one at a time, and closes the disk if it fails.
func (d *disk) write(op string, fn func() error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.failed.Load() != nil {
		return errDiskGone
	}
	d.since.Store(int64(time.Since(origin)) + 1)
	defer d.since.Store(0)
	err := guard(func() error {
		if d.before != nil {
			if err := d.before(op); err != nil {
				return err
			}
		}
		return fn()
	})
	if err != nil {
		err = fmt.Errorf("%s in %s: %w", op, d.path, err)
		d.failed.Store(&err)
		close(d.Failed)
	}
	return err
}

// failure is why the disk closed, nil while it works.
func (d *disk) failure() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// stalled is how long the write under way has taken so far.
func (d *disk) stalled() time.Duration {
	if since := d.since.Load(); since != 0 {
		return time.Since(origin) - time.Duration(since)
	}
	return 0
}

// sumLog is the checksum of an entry. It travels in Extensions between us and the file only.
func sumLog(l *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32(nil, sum)
}

func seal(key string, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(bytes.Clone(value), sum)
}

func unseal(key string, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, fmt.Errorf("%s is cut off", key)
	}
	value := sealed[:len(sealed)-4]
	if !bytes.Equal(seal(key, value), sealed) {
		return nil, fmt.Errorf("checksum of %s is wrong", key)
	}
	return value, nil
}
