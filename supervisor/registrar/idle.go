package registrar

import (
	"errors"
	"io"
	"sync"
)

// idle keeps open sockets for the next question. There are never more than there were questions at a time.
type idle[C io.Closer] struct {
	mu   sync.Mutex
	kept []C
}

// take gives one that was kept.
func (i *idle[C]) take() (conn C, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.kept)
	if n == 0 {
		return conn, false
	}
	conn = i.kept[n-1]
	i.kept = i.kept[:n-1]
	return conn, true
}

func (i *idle[C]) keep(conn C) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kept = append(i.kept, conn)
}

// Close closes those that are kept.
func (i *idle[C]) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var errs []error
	for _, conn := range i.kept {
		errs = append(errs, conn.Close())
	}
	i.kept = nil
	return errors.Join(errs...)
}
