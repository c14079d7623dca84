package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LookInterval is how often the observer asks who has the service address; with every Look6-th it asks for the IPv6 address too.
const (
	LookInterval = time.Millisecond
	Look6        = 4
)

// Observer sees at the millisecond who holds the service address: once in LookInterval it asks each member's interface, by its MAC
// address, and notes who answers. No host's neighbour table learns from that what the pair itself should have told: the answers go to
// stations that don't exist.
type Observer struct {
	fd     int
	link   int
	paused atomic.Bool
	stop   atomic.Bool
	wg     sync.WaitGroup

	mu      sync.Mutex
	samples []Sample
	looks   uint64 // how many there were
}

// startObserver starts the observer at host c.
func (l *Lab) startObserver() (*Observer, error) {
	o := &Observer{}
	err := l.hosts[client].Do(func() (err error) {
		link, err := net.InterfaceByName(legOf(client, SIP).link())
		if err != nil {
			return err
		}
		o.link = link.Index
		o.fd, err = openPacketSocket(link.Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start the observer: %w", err)
	}
	o.wg.Go(o.look)
	o.wg.Go(o.note)
	return o, nil
}

// toGuise lets through what is addressed to one of the observer's stations: the fifth octet of the MAC address is 1.
var toGuise = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xff00},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x0100, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 256},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// openPacketSocket sees the frames for the observer's stations that come in at a link; a veth delivers frames to whomever. Reads end
// after a moment without any.
func openPacketSocket(link int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(toGuise)), Filter: &toGuise[0]}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link}),
	)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("set up a packet socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// look asks, on a thread of its own.
func (o *Observer) look() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	four, six := o.frames()
	to := &unix.SockaddrLinklayer{Ifindex: o.link}
	for next := Now(); !o.stop.Load(); next = max(next+LookInterval, Now()) {
		sleepUntil(next)
		if o.paused.Load() {
			continue
		}
		start := Now()
		n := o.remember(start)
		for i := range Members() {
			_ = unix.Sendto(o.fd, four[i][guiseOf(n)], 0, to) // not sent is not answered: it shows
			if n%Look6 == 0 {
				_ = unix.Sendto(o.fd, six[i][guiseOf(n)], 0, to)
			}
		}
		o.asked(Now() - start)
	}
}

// asked notes how long the newest look took to ask.
func (o *Observer) asked(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.samples[len(o.samples)-1]
	s.Took = max(s.Took, took)
}

// frames builds all frames that will be sent, by member and guise.
func (o *Observer) frames() (four, six [][guises][]byte) {
	for _, m := range Members() {
		var f, s [guises][]byte
		for g := range guise(guises) {
			f[g] = arpRequest(legOf(m, SIP).mac(), g, ServiceAddress)
			s[g] = solicitation(legOf(m, SIP).mac(), g, ServiceAddress6)
		}
		four, six = append(four, f), append(six, s)
	}
	return four, six
}

// remember notes a look and gives it its number, from 0.
func (o *Observer) remember(at time.Duration) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.looks
	o.looks++
	if old := len(o.samples) / 2; old > 0 && o.samples[old].At < at-memory {
		o.samples = append([]Sample(nil), o.samples[old:]...)
	}
	o.samples = append(o.samples, Sample{At: at, Known6: n%Look6 == 0})
	return n
}

// note writes down who answers.
func (o *Observer) note() {
	buf, oob := make([]byte, 256), make([]byte, 128)
	for !o.stop.Load() {
		n, oobn, _, _, err := unix.Recvmsg(o.fd, buf, oob, 0)
		if err != nil {
			continue // nothing for a moment
		}
		c, ok := parseClaim(buf[:n])
		if !ok {
			continue
		}
		at := arrival(oob[:oobn])
		for i, m := range Members() {
			if bytes.Equal(legOf(m, SIP).mac(), c.from) {
				o.credit(c, holderOf(i), at)
			}
		}
	}
}

// arrival is when the kernel received a packet, by Now; the present moment if the kernel doesn't say. It tells by the wall clock.
func arrival(oob []byte) time.Duration {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			at := *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Duration(at.Nano()) - wallAhead()
		}
	}
	return Now()
}

// wallAhead is how far the wall clock is ahead of Now. It reads both again when it was held up between the two.
func wallAhead() time.Duration {
	const tries, close = 20, 20 * time.Microsecond
	for i := 1; ; i++ {
		before := Now()
		wall := time.Now().UnixNano()
		if after := Now(); after-before < close || i == tries {
			return time.Duration(wall) - after
		}
	}
}

// credit adds a member to the newest look that was made in the guise which it answered, before the answer arrived.
func (o *Observer) credit(c claim, who Holders, at time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.looks == 0 {
		return
	}
	back := (o.looks - 1 - uint64(c.to)) % guises
	for ; back < uint64(len(o.samples)); back += guises {
		s := &o.samples[len(o.samples)-1-int(back)]
		if s.At > at { // it was asked only after this answer
			continue
		}
		s.Took = max(s.Took, at-s.At)
		if c.six {
			s.Holders6 |= who
		} else {
			s.Holders |= who
		}
		return
	}
}

// Window copies the looks of a span. Those of the last moment may still be answered.
func (o *Observer) Window(from, to time.Duration) []Sample {
	o.mu.Lock()
	defer o.mu.Unlock()
	return window(o.samples, func(s Sample) time.Duration { return s.At }, from, to)
}

// Pause stops looking, or goes on.
func (o *Observer) Pause(paused bool) { o.paused.Store(paused) }

func (o *Observer) close() error {
	o.stop.Store(true)
	o.wg.Wait()
	return unix.Close(o.fd)
}
