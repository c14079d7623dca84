package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dirPattern names labs' folders in the system's folder for temporary files.
const dirPattern = "understudy-lab.*"

// labDir is a lab's folder: configurations, state, logs. Its lock lasts as long as the process that made it.
type labDir struct {
	path string
	lock *os.File
}

// makeDir makes a new folder, after removing those whose makers were killed.
func makeDir() (labDir, error) {
	sweepDirs()
	path, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		return labDir{}, fmt.Errorf("make the lab's folder: %w", err)
	}
	// The lock is taken under another name: nobody may find it free.
	fresh := filepath.Join(path, "lock.new")
	lock, err := lockFile(fresh)
	if err == nil {
		err = os.Rename(fresh, lockIn(path))
	}
	if err != nil {
		return labDir{}, fmt.Errorf("lock the lab's folder: %w", err)
	}
	return labDir{path: path, lock: lock}, nil
}

func lockIn(dir string) string { return filepath.Join(dir, "lock") }

func (d labDir) remove() {
	_ = os.RemoveAll(d.path) // a rest is swept by the next lab
	_ = d.lock.Close()
}

// lockFile takes a lock, or says that somebody has it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("take %s: %w", path, err)
	}
	return f, nil
}

// sweepDirs removes folders that nobody holds the lock of. Those of other users and those in the making are left alone.
func sweepDirs() {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern))
	if err != nil {
		return
	}
	for _, path := range found {
		if _, err := os.Stat(lockIn(path)); err != nil {
			continue
		}
		lock, err := lockFile(lockIn(path))
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
