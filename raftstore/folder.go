package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// phase is how far a node's state folder can be trusted. It is written before what it allows is done.
type phase string

const (
	phaseNew      phase = "new"      // never took part in anything
	phaseLost     phase = "lost"     // took part and has lost what it knew
	phaseLearning phase = "learning" // is being brought up to date: takes entries, never votes
	phaseReady    phase = "ready"    // knows everything that it ever promised
)

const (
	identityFile = "node.json"
	lockFile     = "lock"
	probeFile    = "probe"
	probeSize    = 64 << 10
)

// nodeFile says whose state the folder is. The nodes' names are part of it: they stand in the Raft log.
type nodeFile struct {
	Cluster string              `json:"cluster"`
	Node    supervisor.NodeID   `json:"node"`
	Nodes   []supervisor.NodeID `json:"nodes"`
	Phase   phase               `json:"phase"`
}

// folder is the state folder of one node, locked while it is open.
type folder struct {
	dir  string
	log  *zap.Logger
	lock *os.File

	mu   sync.Mutex
	file nodeFile
}

// openFolder makes or opens the state folder. Errors name the folder and what to do: in use, not writable, full, somebody else's.
func openFolder(o *Options) (*folder, error) {
	f := &folder{dir: o.Dir, log: o.Logger}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	if err := os.Chmod(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep others out of state folder: %w", err)
	}
	if err := f.takeLock(); err != nil {
		return nil, err
	}
	want := nodeFile{Cluster: o.Cluster, Node: o.Self, Phase: phaseNew}
	for _, n := range o.Nodes {
		want.Nodes = append(want.Nodes, n.ID)
	}
	if err := errors.Join(f.probe(), f.readIdentity(want)); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) close() { f.lock.Close() }

func (f *folder) takeLock() error {
	lock, err := os.OpenFile(f.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock state folder: %w", err)
	}
	if err := waitForLock(int(lock.Fd())); err != nil {
		holder := make([]byte, 32)
		n, _ := lock.Read(holder)
		lock.Close()
		return fmt.Errorf("state folder %s is in use by process %s: one process per folder: %w", f.dir, strings.TrimSpace(string(holder[:n])), err)
	}
	_ = lock.Truncate(0) // the number is only for people; a full disk must not matter here
	_, _ = lock.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	f.lock = lock
	return nil
}

// A process that was killed a moment ago may still be letting go of its sockets, one after the other, before its lock.
const (
	lockPatience = 2 * time.Second
	lockAgain    = 10 * time.Millisecond
)

func waitForLock(fd int) error {
	for start := time.Now(); ; time.Sleep(lockAgain) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Since(start) > lockPatience {
			return err
		}
	}
}

// probe tells whether the folder can be written right now.
func (f *folder) probe() error {
	path := f.path(probeFile)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("state folder is not writable: %w", err)
	}
	defer os.Remove(path)
	_, err = file.Write(make([]byte, probeSize))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("state folder is not writable: %w", err)
	}
	return nil
}

func (f *folder) readIdentity(want nodeFile) error {
	b, err := os.ReadFile(f.path(identityFile))
	if errors.Is(err, os.ErrNotExist) {
		f.file = want
		if _, err := os.Stat(f.path(diskFile)); err == nil { // somebody removed node.json: what else is gone?
			f.file.Phase = phaseLost
		}
		return f.writeIdentity()
	}
	if err != nil {
		return fmt.Errorf("read state folder: %w", err)
	}
	if err := json.Unmarshal(b, &f.file); err != nil || f.file.Node == "" {
		f.file = want
		f.file.Phase = phaseLost
		if err := f.setAside(identityFile, fmt.Errorf("%s is damaged: %w", identityFile, err)); err != nil {
			return err
		}
		return f.writeIdentity()
	}
	switch got := f.file; {
	case got.Cluster != want.Cluster:
		return fmt.Errorf("state folder %s belongs to cluster %q, the configuration says %q: give each cluster its own folder", f.dir, got.Cluster, want.Cluster)
	case got.Node != want.Node:
		return fmt.Errorf("state folder %s belongs to node %q, this is node %q: give each node its own folder", f.dir, got.Node, want.Node)
	case !slices.Equal(got.Nodes, want.Nodes):
		return fmt.Errorf("state folder %s belongs to a pair of %s, the configuration has %s: a machine that replaces another takes over its node name",
			f.dir, joinNames(got.Nodes), joinNames(want.Nodes))
	}
	return nil
}

// setPhase makes the phase durable before it returns.
func (f *folder) setPhase(p phase) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file.Phase == p {
		return nil
	}
	before := f.file.Phase
	f.file.Phase = p
	if err := f.writeIdentity(); err != nil {
		f.file.Phase = before
		return err
	}
	return nil
}

func (f *folder) phase() phase {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Phase
}

func (f *folder) writeIdentity() error {
	b, err := json.MarshalIndent(f.file, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", identityFile, err)
	}
	path := f.path(identityFile)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write state folder: %w", err)
	}
	_, err = file.Write(append(b, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write state folder: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write state folder: %w", err)
	}
	return f.sync()
}

func (f *folder) sync() error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("write state folder: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write state folder: %w", err)
	}
	return nil
}

// setAside keeps a file that can't be used under another name and says so.
func (f *folder) setAside(name string, why error) error {
	kept := f.path(name + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000000"))
	if err := os.Rename(f.path(name), kept); err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	f.log.Error("state set aside, this node will be brought up to date by the others", zap.String("target", kept), zap.String("why", why.Error()))
	return f.sync()
}

// load opens the store as far as the phase allows to trust it. A nil disk means that there is none: the others have to be asked.
func (f *folder) load() (*disk, error) {
	info, err := os.Stat(f.path(diskFile))
	exists := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read store: %w", err)
	}
	if p := f.phase(); p != phaseReady && p != phaseLearning {
		if exists {
			return nil, f.setAside(diskFile, fmt.Errorf("it was left by a node that never took part, or lacked %s", identityFile))
		}
		return nil, nil
	}
	switch {
	case !exists:
		f.log.Error("state lost, this node will be brought up to date by the others", zap.String("why", f.path(diskFile)+" is missing"))
		return nil, f.setPhase(phaseLost)
	case info.Size() == 0:
		return nil, f.lose(errors.New("it is empty"))
	}
	d, err := openDisk(f.path(diskFile))
	var corrupt *corruptError
	if errors.As(err, &corrupt) {
		return nil, f.lose(err)
	}
	if err != nil {
		return nil, err
	}
	if d.term() == 0 { // cut short while it was made
		d.close()
		return nil, f.lose(errors.New("it holds no term"))
	}
	return d, nil
}

func (f *folder) lose(why error) error {
	if err := f.setPhase(phaseLost); err != nil {
		return err
	}
	return f.setAside(diskFile, why)
}
