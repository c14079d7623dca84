package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnsafe reports a program that will not be run, because somebody else could have put it there or because it is none.
var ErrUnsafe = errors.New("will not be run")

// Check says whether the program at path may be run: an absolute path to a regular file that this process may execute, owned by
// root or by this process's user, writable by nobody else, in folders of which the same is true. A folder that others may write to is
// accepted where the sticky bit keeps them from replacing what is not theirs (/tmp). Symbolic links are followed and both ends
// are checked. The error wraps ErrUnsafe and says what to do.
func Check(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s %w: give its absolute path", path, ErrUnsafe)
	}
	path = filepath.Clean(path)
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("%s %w: %w", path, ErrUnsafe, err)
	}
	if err := checkFile(target); err != nil {
		return err
	}
	if err := checkFolders(target); err != nil {
		return err
	}
	if target == path {
		return nil
	}
	return checkFolders(path) // whoever may write there may point the link elsewhere
}

func checkFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("%s %w: %w", path, ErrUnsafe, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s %w: it is no regular file", path, ErrUnsafe)
	}
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s %w: others may write to it (mode %04o); run: chmod go-w %s", path, ErrUnsafe, info.Mode().Perm(), path)
	}
	if info.Mode().Perm()&0o111 == 0 || unix.Access(path, unix.X_OK) != nil {
		return fmt.Errorf("%s %w: it is not executable; run: chmod +x %s", path, ErrUnsafe, path)
	}
	return nil
}

func checkFolders(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("%s %w: %w", path, ErrUnsafe, err)
		}
		if err := checkOwner(dir, info); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s %w: others may write to its folder %s (mode %04o); run: chmod go-w %s",
				path, ErrUnsafe, dir, info.Mode().Perm(), dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s %w: its owner is unknown", path, ErrUnsafe)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s %w: it belongs to user %d, not to root or to user %d who runs understudy; run: chown root %s",
			path, ErrUnsafe, stat.Uid, os.Geteuid(), path)
	}
	return nil
}
