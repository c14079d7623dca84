package raftstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

var (
	_ raft.LogStore          = (*disk)(nil)
	_ raft.MonotonicLogStore = (*disk)(nil)
	_ raft.StableStore       = (*disk)(nil)
)

// IsMonotonic makes raft drop its whole log when it installs a snapshot. Else entries from before could stay, uncommitted ones among
// them, and be sent to others when this node leads.
func (d *disk) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.logs) == 0 {
		return 0, nil
	}
	return d.logs[0].Index, nil
}

// LastIndex implements raft.LogStore.
func (d *disk) LastIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.logs) == 0 {
		return 0, nil
	}
	return d.logs[len(d.logs)-1].Index, nil
}

// GetLog implements raft.LogStore. Of a closed disk every entry does nothing: raft panics if an entry is missing, and after a failed
// write it may believe in entries that never were.
func (d *disk) GetLog(index uint64, log *raft.Log) error {
	if d.failed.Load() != nil {
		*log = raft.Log{Index: index, Type: raft.LogNoop}
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.logs) == 0 || index < d.logs[0].Index || index > d.logs[len(d.logs)-1].Index {
		return raft.ErrLogNotFound
	}
	*log = d.logs[index-d.logs[0].Index]
	return nil
}

// StoreLog implements raft.LogStore.
func (d *disk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	summed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		c := *l
		c.Extensions = sumLog(&c)
		summed[i] = &c
	}
	return d.write("append to the log", func() error {
		if err := d.dropCovered(logs[0].Index); err != nil {
			return err
		}
		if err := d.bolt.StoreLogs(summed); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, l := range logs {
			c := *l
			c.Extensions = nil
			d.logs = append(d.logs, c)
		}
		return nil
	})
}

// dropCovered makes room for entries from index on. Entries before a gap are left over from a snapshot that was installed just before
// a crash, and covered by it.
func (d *disk) dropCovered(index uint64) error {
	if len(d.logs) == 0 {
		return nil
	}
	first, last := d.logs[0].Index, d.logs[len(d.logs)-1].Index
	if index == last+1 {
		return nil
	}
	if d.saved == nil || last > d.saved.Meta.Index || index != d.saved.Meta.Index+1 {
		return fmt.Errorf("entry %d can't follow entry %d", index, last)
	}
	if err := d.bolt.DeleteRange(first, last); err != nil {
		return err
	}
	d.mu.Lock()
	d.logs = nil
	d.mu.Unlock()
	return nil
}

// DeleteRange implements raft.LogStore: raft drops old entries at the front or conflicting ones at the end.
func (d *disk) DeleteRange(low, high uint64) error {
	return d.write("delete from the log", func() error {
		if err := d.bolt.DeleteRange(low, high); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.logs = slices.DeleteFunc(slices.Clone(d.logs), func(l raft.Log) bool { return low <= l.Index && l.Index <= high })
		return nil
	})
}

// Set implements raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	name := string(key)
	err := d.write("save "+name, func() error {
		if err := d.bolt.Set(key, seal(name, value)); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stable[name] = slices.Clone(value)
		return nil
	})
	if err != nil && name == keyTerm {
		// Raft panics if it can't save its term. A term that is only believed does no harm, as this disk saves no vote and no entry
		// in it: the write that failed has closed it.
		return nil
	}
	return err
}

// Get implements raft.StableStore. Raft knows the error for a missing key by its text.
func (d *disk) Get(key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if v, ok := d.stable[string(key)]; ok {
		return slices.Clone(v), nil
	}
	return nil, raftboltdb.ErrKeyNotFound
}

// SetUint64 implements raft.StableStore.
func (d *disk) SetUint64(key []byte, v uint64) error {
	return d.Set(key, binary.BigEndian.AppendUint64(nil, v))
}

// GetUint64 implements raft.StableStore.
func (d *disk) GetUint64(key []byte) (uint64, error) {
	v, err := d.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%s has %d octets", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// term is the newest term that the store knows, 0 if it never took part.
func (d *disk) term() uint64 {
	t, err := d.GetUint64([]byte(keyTerm))
	if err != nil {
		return 0
	}
	return t
}

// lastIndex is the newest entry that the store holds, in its log or its snapshot.
func (d *disk) lastIndex() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var last uint64
	if d.saved != nil {
		last = d.saved.Meta.Index
	}
	if len(d.logs) > 0 {
		last = max(last, d.logs[len(d.logs)-1].Index)
	}
	return last
}
