package traffic

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// capture reads the packets of one interface, by name: it may come and go.
type capture struct {
	link  string
	rules filter
	take  func(f *frame, at time.Duration) // called for each packet
	lost  func(packets uint64)             // called when the kernel dropped some

	socket *raw.Socket
	ring   ring
	local  bool // the interface is the loopback interface

	visit func(*frame)
	now   time.Duration // when the block being read was taken, by both clocks
	wall  int64
}

func newCapture(link string, rules filter, take func(*capture, *frame, time.Duration), lost func(uint64)) *capture {
	c := &capture{link: link, rules: rules, lost: lost}
	c.take = func(f *frame, at time.Duration) { take(c, f, at) }
	c.visit = func(f *frame) {
		if f.cut {
			lost(1)
			return
		}
		c.take(f, c.moment(f.at))
	}
	return c
}

func (c *capture) name() string { return c.link }

// open captures from now on. Before that there is no moment at which other packets than those asked for could get into the ring.
func (c *capture) open(p *raw.Poller, ready func() error) (err error) {
	link, err := net.InterfaceByName(c.link)
	if err != nil {
		return errors.New("there is no such interface")
	}
	c.local = link.Flags&net.FlagLoopback != 0
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket (CAP_NET_RAW is needed): %w", err)
	}
	if c.socket, err = raw.Detach(os.NewFile(uintptr(fd), "packet")); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	setUp := c.socket.Control(func(fd int) { err = c.setUp(fd, link.Index) })
	if err = errors.Join(setUp, err); err == nil {
		err = p.Watch(c.socket, ready)
	}
	if err != nil {
		return errors.Join(err, c.close())
	}
	return nil
}

func (c *capture) setUp(fd, index int) error {
	rules, size := c.rules, networkRing
	if c.local {
		rules.loopback, size = true, loopbackRing
	}
	code, err := rules.compile()
	if err != nil {
		return fmt.Errorf("make the filter: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))} // the same structure
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	if c.ring, err = openRing(fd, size); err != nil {
		return err
	}
	at := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return pending(fd)
}

// networkOrder gives v so that its octets in memory are in network byte order.
func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// pending gives the error that the socket holds: ENETDOWN when the interface was set down or removed.
func pending(fd int) error {
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return fmt.Errorf("read the state of the capture: %w", err)
	case unix.Errno(e) == unix.ENETDOWN:
		return errors.New("the interface is down or gone")
	case e != 0:
		return fmt.Errorf("capture: %w", unix.Errno(e))
	}
	return nil
}

// read takes all that was captured. An error says that the capture has ended.
func (c *capture) read() error {
	any := false
	for {
		c.now, c.wall = raw.Clock(), time.Now().UnixNano()
		ok, losing := c.ring.read(c.visit)
		if losing {
			c.readLosses()
		}
		if !ok {
			break
		}
		any = true
	}
	if any {
		return nil
	}
	var err error // nothing to read: what else woke us?
	ctlErr := c.socket.Control(func(fd int) { err = pending(fd) })
	return errors.Join(ctlErr, err)
}

// readLosses asks how many packets the kernel dropped since it was last asked.
func (c *capture) readLosses() {
	_ = c.socket.Control(func(fd int) {
		if s, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil && s.Drops > 0 {
			c.lost(uint64(s.Drops))
		}
	})
}

// maxAge bounds the time that a packet may have lain in the ring. More is a step of the wall clock in between.
const maxAge = 10 * time.Second

// moment translates the time stamp of a packet into raw.Clock.
func (c *capture) moment(at int64) time.Duration {
	age := time.Duration(c.wall - at)
	if age < 0 || age > maxAge {
		age = 0
	}
	return c.now - age
}

// close ends the capture. The map has to go first: it keeps the socket.
func (c *capture) close() error {
	if c.socket == nil {
		return nil
	}
	err := errors.Join(c.ring.close(), c.socket.Close())
	c.socket = nil
	return err
}
