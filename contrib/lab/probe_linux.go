package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How the probing daemon beside a tuned keepalived judges. It plays for keepalived: as fast as it can be without false alarms on two
// busy CPUs.
const (
	probeEvery  = 5 * time.Millisecond
	probeRise   = 10                     // answers in a row after which a server is good again
	ownSilence  = 40 * time.Millisecond  // the own server hangs
	peerSilence = 80 * time.Millisecond  // the peer's server can't be asked: longer, for the network may stumble
	rescanEvery = 500 * time.Millisecond // look for new processes of the own server
)

// probeTarget is a SIP server under watch and the file in which keepalived reads about it: 0 is good, 1 is bad.
type probeTarget struct {
	fd      int
	message func(serial uint64) []byte
	file    string
	silence time.Duration

	heard  time.Duration // when it last answered
	run    int           // answers in a row
	judged bool          // the file says bad
	bad    bool
}

// runProbe watches the own and the peer's server until ctx ends.
func runProbe(ctx context.Context) error {
	dir := os.Getenv("LAB_PROBE_DIR")
	own, err := newProbeTarget("LAB_PROBE_OWN", filepath.Join(dir, "own"), ownSilence)
	if err != nil {
		return err
	}
	peer, err := newProbeTarget("LAB_PROBE_PEER", filepath.Join(dir, "peer"), peerSilence)
	if err != nil {
		return err
	}
	// Until it is heard, the own server is down; of the peer nothing bad is known.
	if err := errors.Join(own.judge(true), peer.judge(false)); err != nil {
		return err
	}
	watch := &processWatch{}
	defer watch.forget()
	next := Now()
	for serial := uint64(1); ctx.Err() == nil; serial++ {
		for _, t := range []*probeTarget{own, peer} {
			if err := t.ask(serial); err != nil {
				return err
			}
		}
		next = max(next+probeEvery, Now())
		if err := watch.rescan(!own.bad); err != nil {
			return err
		}
		for Now() < next {
			if err := wait(watch, own, peer, next); err != nil {
				return err
			}
		}
		if err := errors.Join(own.tick(), peer.tick()); err != nil {
			return err
		}
	}
	return nil
}

// wait handles what happens until the next probe.
func wait(watch *processWatch, own, peer *probeTarget, until time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(own.fd), Events: unix.POLLIN}, {Fd: int32(peer.fd), Events: unix.POLLIN}}
	for _, fd := range watch.fds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	timeout := unix.NsecToTimespec(int64(max(until-Now(), 0)))
	if _, err := unix.Ppoll(fds, &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	for _, fd := range fds[2:] {
		if fd.Revents != 0 {
			watch.forget()
			own.run = 0
			return own.judge(true)
		}
	}
	var errs []error
	for i, t := range []*probeTarget{own, peer} {
		if fds[i].Revents != 0 {
			errs = append(errs, t.hear())
		}
	}
	return errors.Join(errs...)
}

func newProbeTarget(variable, file string, silence time.Duration) (*probeTarget, error) {
	target, err := netip.ParseAddr(os.Getenv(variable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	// Connected, so that a refusal is heard at once.
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: Port, Addr: target.As4()}); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("own address towards %s: %w", target, err)
	}
	local := name.(*unix.SockaddrInet4)
	r := request{method: "OPTIONS", target: target, from: netip.AddrPortFrom(netip.AddrFrom4(local.Addr), uint16(local.Port)), user: "probe"}
	return &probeTarget{fd: fd, file: file, silence: silence, heard: Now(), message: func(serial uint64) []byte {
		r.serial = serial
		return r.append(nil)
	}}, nil
}

// ask sends a probe. Errors tell of earlier probes.
func (t *probeTarget) ask(serial uint64) error {
	err := unix.Send(t.fd, t.message(serial), 0)
	if errors.Is(err, unix.ECONNREFUSED) {
		return t.refused()
	}
	return nil // unreachable: silence tells
}

// hear takes answers in.
func (t *probeTarget) hear() error {
	buf := make([]byte, 2048)
	for {
		n, err := unix.Read(t.fd, buf)
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
			return t.refused()
		case err != nil:
			return nil
		}
		if _, ok := parseAnswer(buf[:n]); ok {
			t.heard = Now()
			t.run++
		}
	}
}

func (t *probeTarget) refused() error {
	t.run = 0
	return t.judge(true)
}

// tick judges by what was heard.
func (t *probeTarget) tick() error {
	switch {
	case Now()-t.heard > t.silence:
		t.run = 0
		return t.judge(true)
	case t.run >= probeRise && t.bad:
		return t.judge(false)
	}
	return nil
}

// judge writes a changed judgement down.
func (t *probeTarget) judge(bad bool) error {
	if t.judged && bad == t.bad {
		return nil
	}
	t.judged, t.bad = true, bad
	text := "0\n"
	if bad {
		text = "1\n"
	}
	return os.WriteFile(t.file, []byte(text), 0o600)
}

// processWatch holds a pidfd of every process of the host's Kamailio.
type processWatch struct {
	fds  []int
	last time.Duration
}

// rescan opens the pidfds anew, now and then, while the server is known to be good.
func (w *processWatch) rescan(good bool) error {
	if !good || Now()-w.last < rescanEvery {
		return nil
	}
	w.forget()
	w.last = Now()
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("read the own namespace: %w", err)
	}
	for pid := range readProcesses() {
		dir := fmt.Sprintf("/proc/%d", pid)
		name, _ := os.ReadFile(dir + "/comm") // a process that has ended is not the server's
		ns, _ := os.Readlink(dir + "/ns/net")
		if strings.TrimSpace(string(name)) != string(Kamailio) || ns != here {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			w.fds = append(w.fds, fd)
		}
	}
	return nil
}

func (w *processWatch) forget() {
	for _, fd := range w.fds {
		_ = unix.Close(fd)
	}
	w.fds = nil
}
