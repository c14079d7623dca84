package bindings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	saveEvery = time.Second // what a member knew that loses power is at most so old, plus what a write takes
	saveChunk = 500         // records encoded at a time, while nobody else can use the table
)

// restore fills the table from its folder.
func (s *Store) restore() error {
	s.files = &journal{dir: s.o.Dir, log: s.log, clock: s.o.Clock}
	now := s.o.Clock.Now()
	s.t.filling = true
	l, err := s.files.load(s.o.Self, func(r Record) {
		if old := s.t.get(r.AOR); old.Version < r.Version {
			s.t.put(r, true, now)
			s.t.removed.restore(r)
		}
	})
	if err != nil {
		return err
	}
	t := s.t
	t.filling = false
	for i := range t.lists {
		t.lists[i].sort()
	}
	t.removed.sort()
	if len(l.damaged) == 0 { // else what could be read of these files is written again
		t.saving.take(len(t.saving.waiting))
	}
	t.count = l.highest.count()
	t.known.lostAfter = l.highest
	if l.any && l.meta.us == s.o.Self {
		s.id, s.peer, t.known.theirs = l.meta.id, l.meta.peer, l.meta.theirs
		t.known.lostAfter = min(l.highest, l.meta.ours)
	}
	if len(l.damaged) > 0 { // what is missing may be anything
		t.known.lostAfter, t.known.theirs = 0, 0
	}
	if err := s.files.begin(s.meta()); err != nil {
		return err
	}
	if t.records > 0 {
		s.log.Info("registrations read from disk", zap.Int("records", t.records), zap.Int("bindings", t.bindings[0]+t.bindings[1]))
	}
	return nil
}

// meta is what is kept of a table besides its records.
func (s *Store) meta() meta {
	return meta{us: s.o.Self, id: s.id, peer: s.peer, theirs: s.t.known.theirs, ours: s.t.haveOurs()}
}

// keepFiles writes what changes to disk, a while later, until ctx ends; then it writes what is left.
func (s *Store) keepFiles(ctx context.Context) {
	if s.files == nil {
		return
	}
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	defer func() { _ = s.files.file.Close() }()
	for {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		err := s.save()
		if err == nil && s.files.worth() && ctx.Err() == nil {
			err = s.compact()
		}
		s.noteDisk(err)
		if ctx.Err() != nil {
			return
		}
	}
}

// noteDisk remembers what is wrong with the disk, and tells once.
func (s *Store) noteDisk(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && s.diskErr == nil:
		s.log.Error("registrations can't be written to disk: free some space, or look at the disk; they stay in memory", zap.Error(err))
	case err == nil && s.diskErr != nil:
		s.log.Info("registrations are written to disk again")
	}
	s.diskErr = err
}

// save appends what has changed to the log.
func (s *Store) save() error {
	for {
		b, entries := s.unsaved()
		if b == nil {
			return nil
		}
		if err := s.files.write(b); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, e := range entries {
				s.t.saving.add(e)
			}
			s.savedMeta = meta{}
			return fmt.Errorf("append to the log: %w", err)
		}
	}
}

// unsaved encodes some of what has changed.
func (s *Store) unsaved() ([]byte, []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.t.saving.take(saveChunk)
	if len(entries) == 0 && s.savedMeta == s.meta() {
		return nil, nil
	}
	b := keptFrame(nil, keptTime, s.o.Clock.mark().append(nil))
	for _, e := range entries {
		b = keptRecordOf(b, e, s.t.removed.of[e.aor])
	}
	if len(s.t.saving.waiting) == 0 { // what we have of the peer's changes is true once they are written
		s.savedMeta = s.meta()
		b = keptFrame(b, keptMeta, s.savedMeta.append(nil))
	}
	return b, entries
}

// compact writes a snapshot and removes the logs before it. The next log begins first: what changes meanwhile is in that.
func (s *Store) compact() error {
	s.mu.Lock()
	m, saved := s.meta(), s.savedMeta
	s.mu.Unlock()
	if err := s.files.begin(saved); err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}
	path := s.files.path(snapshotName, s.files.number)
	size, err := s.writeSnapshot(path+".new", m)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a snapshot: %w", err), os.Remove(path+".new"))
	}
	return s.files.compacted(size)
}

func (s *Store) writeSnapshot(path string, m meta) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := keptFrame([]byte(fileHead), keptMeta, m.append(nil))
	for i := range s.t.buckets {
		b = s.appendBucket(b, i)
		if len(b) < 256<<10 && i < Buckets-1 {
			continue
		}
		n, err := f.Write(b)
		if size += int64(n); err != nil {
			return size, err
		}
		b = b[:0]
	}
	n, err := f.Write(keptFrame(b[:0], keptEnd))
	return size + int64(n), errors.Join(err, f.Sync())
}

// appendBucket encodes the records of a bucket, with the time: a snapshot of a large table takes a while.
func (s *Store) appendBucket(b []byte, bucket int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = keptFrame(b, keptTime, s.o.Clock.mark().append(nil))
	for _, e := range s.t.buckets[bucket].records {
		b = keptRecordOf(b, e, s.t.removed.of[e.aor])
	}
	return b
}
