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
	lock, err := lockDir(path)
	if err != nil {
		return labDir{}, err
	}
	return labDir{path: path, lock: lock}, nil
}

func (d labDir) remove() {
	_ = os.RemoveAll(d.path) // a rest is swept by the next lab
	_ = d.lock.Close()
}

// lockDir takes the folder's lock, or says that somebody has it.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the lab's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the lab's folder %s: %w", path, err)
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
		if _, err := os.Stat(filepath.Join(path, "lock")); err != nil {
			continue
		}
		lock, err := lockDir(path)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
