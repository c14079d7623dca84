package raftstore

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/understudy-sip/understudy/supervisor"
)

// state is the replicated record as this process knows it. It outlives a restart of raft inside the process: what was applied stays
// applied, and entries that raft replays from its log afterwards are skipped.
type state struct {
	onRecord func(supervisor.Record, bool)

	mu   sync.Mutex // held while onRecord runs, so that it sees the changes in order
	view atomic.Pointer[view]
}

// view is the record at one moment.
type view struct {
	record supervisor.Record
	index  uint64 // of the newest entry in record
	synced bool
}

func newState(onRecord func(supervisor.Record, bool)) *state {
	s := &state{onRecord: onRecord}
	s.view.Store(&view{})
	return s
}

// snapshotData is the contents of a snapshot. It names its index itself, as record may be ahead of where raft believes it is.
type snapshotData struct {
	Index  uint64            `json:"index"`
	Record supervisor.Record `json:"record"`
}

// apply carries out a committed entry and gives the reason why it did not change the record.
func (s *state) apply(index uint64, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.view.Load()
	if index <= next.index {
		return nil
	}
	next.index = index
	var entry supervisor.Entry
	err := json.Unmarshal(data, &entry)
	if err != nil {
		err = fmt.Errorf("decode entry %d: %w", index, err)
	} else {
		next.record, err = next.record.Apply(entry)
	}
	s.view.Store(&next)
	if err == nil {
		s.onRecord(next.record, next.synced)
	}
	return err
}

func (s *state) restore(data snapshotData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.view.Load()
	if data.Index <= next.index {
		return
	}
	next.index, next.record = data.Index, data.Record
	s.view.Store(&next)
	s.onRecord(next.record, next.synced)
}

// setSynced says that the record now includes everything that was committed before this process started.
func (s *state) setSynced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.view.Load()
	if next.synced {
		return
	}
	next.synced = true
	s.view.Store(&next)
	s.onRecord(next.record, true)
}

// fsm hands one run of raft's entries to the state. Once that run's disk has failed it passes nothing on: raft may hold entries then
// that were never saved.
type fsm struct {
	state   *state
	failed  func() error
	applied func(index uint64) // an entry took effect here
}

var _ raft.FSM = (*fsm)(nil)

// Apply implements raft.FSM. It returns nil or an error.
func (f *fsm) Apply(l *raft.Log) any {
	if f.failed() != nil {
		return ErrUnknownOutcome
	}
	if err := f.state.apply(l.Index, l.Data); err != nil {
		return err
	}
	f.applied(l.Index)
	return nil
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	v := f.state.view.Load()
	return snapshotData{Index: v.index, Record: v.record}, nil
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	var data snapshotData
	if err := json.NewDecoder(r).Decode(&data); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	if f.failed() == nil {
		f.state.restore(data)
	}
	return nil
}

// Persist implements raft.FSMSnapshot.
func (s snapshotData) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s snapshotData) Release() {}
