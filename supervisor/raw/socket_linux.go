package raw

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a datagram socket that Go's own poller does not know. It may be used by many goroutines.
type Socket struct {
	mu sync.RWMutex // held for writing by Close: no call ever reaches a number that means another file by now
	fd int          // -1: closed
}

// Detach takes a socket out of Go's poller and closes conn.
func Detach(conn interface {
	syscall.Conn
	Close() error
}) (*Socket, error) {
	c, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{fd: -1}
	ctlErr := c.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(ctlErr, err, conn.Close()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Control calls f with the file descriptor, which stays open meanwhile.
func (s *Socket) Control(f func(fd int)) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	f(s.fd)
	return nil
}

// Send sends b and never waits.
func (s *Socket) Send(b []byte, to Addr) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return Send(s.fd, b, to)
}

// Receive gives the length of the datagram that it put into b, or unix.EAGAIN if there is none.
func (s *Socket) Receive(b []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return Receive(s.fd, b)
}

// Close closes the socket, once or more often.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return err
}
