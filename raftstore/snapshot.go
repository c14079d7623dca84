package raftstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// savedSnapshot is the one snapshot that a node keeps. It lives in the same file as the log, as one value that is replaced in one
// transaction: there is no second place that could disagree, be half written or be left over.
type savedSnapshot struct {
	Meta raft.SnapshotMeta
	Data []byte
}

var _ raft.SnapshotStore = (*disk)(nil)

func parseSnapshot(b []byte) (*savedSnapshot, error) {
	var s savedSnapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.Meta.Index == 0 || s.Meta.Size != int64(len(s.Data)) {
		return nil, fmt.Errorf("snapshot of index %d has %d octets instead of %d", s.Meta.Index, len(s.Data), s.Meta.Size)
	}
	return &s, nil
}

// Create implements raft.SnapshotStore.
func (d *disk) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, cIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	meta := raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term, Configuration: c, ConfigurationIndex: cIndex,
	}
	return &snapshotSink{disk: d, meta: meta}, nil
}

// List implements raft.SnapshotStore.
func (d *disk) List() ([]*raft.SnapshotMeta, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.saved == nil {
		return nil, nil
	}
	meta := d.saved.Meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (d *disk) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.saved == nil || d.saved.Meta.ID != id {
		return nil, nil, fmt.Errorf("no snapshot %s", id)
	}
	meta := d.saved.Meta
	return &meta, io.NopCloser(bytes.NewReader(d.saved.Data)), nil
}

// snapshotSink collects a snapshot in memory: it is the record, some 100 kB at most.
type snapshotSink struct {
	bytes.Buffer
	disk *disk
	meta raft.SnapshotMeta
	done bool
}

// ID implements raft.SnapshotSink.
func (s *snapshotSink) ID() string { return s.meta.ID }

// Cancel implements raft.SnapshotSink.
func (s *snapshotSink) Cancel() error {
	s.done = true
	return nil
}

// Close implements raft.SnapshotSink: it makes the snapshot durable.
func (s *snapshotSink) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	s.meta.Size = int64(s.Len())
	saved := &savedSnapshot{Meta: s.meta, Data: s.Bytes()}
	b, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	return s.disk.write("save the snapshot", func() error {
		if err := s.disk.bolt.Set([]byte(keySnapshot), seal(keySnapshot, b)); err != nil {
			return err
		}
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		s.disk.saved = saved
		return nil
	})
}
