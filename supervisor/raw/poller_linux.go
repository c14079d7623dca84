package raw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller calls back, in the goroutine that runs it, when a socket can be read and when its alarm rings. Go's own poller is told of one
// file only, the epoll set, and only when something in it can be read.
type Poller struct {
	file  *os.File // the epoll set
	conn  syscall.RawConn
	alarm Socket // a timerfd

	mu     sync.Mutex
	ready  map[int32]func() error
	closed bool
}

// NewPoller makes a poller. ring is called when the alarm rings; an error of it ends Run.
func NewPoller(ring func() error) (*Poller, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if err := unix.SetNonblock(set, true); err != nil { // tells os.NewFile that Go's poller can wait for it
		return nil, errors.Join(fmt.Errorf("make an epoll set: %w", err), unix.Close(set))
	}
	p := &Poller{file: os.NewFile(uintptr(set), "epoll"), alarm: Socket{fd: -1}, ready: map[int32]func() error{}}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("make an epoll set: %w", err), p.Close())
	}
	if p.alarm.fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("make a timer: %w", err), p.Close())
	}
	err = p.Watch(&p.alarm, func() error {
		if !p.rang() {
			return nil
		}
		return ring()
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Watch has ready called whenever s can be read, and again until it was read to its end. It lasts until s or p is closed. An error of
// ready ends Run.
func (p *Poller) Watch(s *Socket, ready func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var watchErr error
	err := s.Control(func(fd int) {
		ctlErr := p.conn.Control(func(set uintptr) {
			watchErr = unix.EpollCtl(int(set), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		})
		if watchErr = errors.Join(watchErr, ctlErr); watchErr == nil {
			p.ready[int32(fd)] = ready
		}
	})
	if err := errors.Join(err, watchErr); err != nil {
		return fmt.Errorf("wait for a socket: %w", err)
	}
	return nil
}

// Alarm has the alarm ring once, after d, instead of when it was to ring before.
func (p *Poller) Alarm(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))} // 0 would mean never
	_ = p.alarm.Control(func(fd int) {
		_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	})
}

// rang takes note of the alarm. It gives false if that was set anew in the meantime.
func (p *Poller) rang() (yes bool) {
	_ = p.alarm.Control(func(fd int) {
		var times uint64
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&times)), unsafe.Sizeof(times))
		yes = e == 0 && n > 0
	})
	return yes
}

// Run calls back until ctx ends, which closes p, or a call back gives an error. After the latter it may be run again.
func (p *Poller) Run(ctx context.Context) error {
	var failed error
	defer context.AfterFunc(ctx, func() { p.Close() })()
	err := p.conn.Read(func(set uintptr) bool {
		var events [16]unix.EpollEvent
		for {
			n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, set, uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
			switch {
			case e == unix.EINTR:
				continue
			case e != 0:
				failed = e
				return true
			case n == 0:
				return false
			}
			for _, ev := range events[:n] {
				if failed = p.call(ev.Fd); failed != nil {
					return true
				}
			}
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err = errors.Join(failed, err); err != nil && !p.closed {
		return err
	}
	return nil
}

func (p *Poller) call(fd int32) error {
	p.mu.Lock()
	f := p.ready[fd]
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

// Close ends Run and waits for a call back under way, so it can't be called by one. The sockets stay open.
func (p *Poller) Close() error {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if was {
		return nil
	}
	return errors.Join(p.file.Close(), p.alarm.Close())
}
