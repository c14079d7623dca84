package wire

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Ours reports whether an error of connecting or sending lies on this side: it says nothing about who was asked.
func Ours(err error) bool {
	for _, e := range []error{
		unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.ENETUNREACH, unix.ENETDOWN, unix.EINVAL, unix.EACCES, unix.EPERM, unix.ENOBUFS,
		unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EAFNOSUPPORT, unix.EAGAIN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Reason is the heart of a network error, for people.
func Reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.Err
	}
	return err.Error()
}
