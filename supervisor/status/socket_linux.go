package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketMode lets the owner and the group connect; nobody else gets an answer, let alone gives an order.
const socketMode = 0o660

// maxSocketPath is what fits into sockaddr_un with its closing zero.
const maxSocketPath = 107

// ErrInUse says that another daemon answers on the socket.
var ErrInUse = errors.New("another understudy is running here")

// Listen opens the socket of the local API. A missing folder is made (0750), a socket that a dead daemon left is replaced, a living
// daemon's is not (ErrInUse). Closing the listener removes the file.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path is longer than %d octets", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// The mode of an unbound socket becomes, less the umask, the mode of the file that bind makes: there is no moment at which
	// more people can connect.
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		if err := conn.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), socketMode) }); err != nil {
			return err
		}
		return failed
	}}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // the umask may have taken bits away
		_ = listener.Close()
		return nil, fmt.Errorf("set the mode of %s: %w", path, err)
	}
	return listener, nil
}

// removeStale removes the socket of a daemon that is no more. Anything else at that path is left alone.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("listen on %s: a file that is no socket is in the way", path)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("listen on %s: %w", path, ErrInUse)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("ask who listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale %s: %w", path, err)
	}
	return nil
}
