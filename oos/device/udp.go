package device

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/oos/wire"
)

const (
	mostReceived = 8192 // datagrams, and failures, a round: more than the kernel holds, so that a flood does not keep us from judging
	sendTries    = 4    // of one datagram: the kernel hands out errors of others first
	sourceEvery  = 100 * time.Millisecond
	reopenAfter  = time.Second // a socket could not be opened
)

// family is the UDP side of one address family.
type family struct {
	v6         bool
	socket     *socket       // nil: not open
	generation uint64        // of the socket
	why        string        // it is not open
	openAt     time.Duration // when to try again
	queue      []int32       // devices to send to
	full       bool          // the kernel takes no more just now
	outward    *batch
	slots      [atOnce]*slot // that outward is for
}

// send has the newest request of a device sent.
func (c *Checker) send(s *slot) {
	switch {
	case s.site.transport != UDP:
		c.write(s)
	case !s.addr.IsValid():
		s.unsent(s.lookup.err)
	case !s.queued:
		f := &c.families[0]
		if s.addr.Addr().Is6() {
			f = &c.families[1]
		}
		s.queued = true
		f.queue = append(f.queue, s.number)
	}
}

// sendAgain sends the newest request once more, if it has no answer.
func (c *Checker) sendAgain(s *slot) {
	if s.waiting && s.denied == 0 {
		c.send(s)
	}
}

// flush sends what is queued, in batches.
func (c *Checker) flush(f *family) {
	f.full = false
	for len(f.queue) > 0 && !f.full {
		if !c.open(f) {
			for _, n := range f.queue {
				c.slots[n].queued = false
				c.slots[n].unsent(f.why)
			}
			f.queue = f.queue[:0]
			return
		}
		n := 0
		next := f.queue[:min(len(f.queue), atOnce)]
		for _, number := range next {
			s := &c.slots[number]
			s.queued = false
			if !s.waiting || !s.addr.IsValid() || s.addr.Addr().Is6() != f.v6 {
				continue // meanwhile
			}
			if err := s.learn(f); err != nil {
				s.unsent(wire.Reason(err))
				continue
			}
			f.outward.put(n, s.append(f.outward.octets[n][:0], s.host, s.local, s.auth), s.place)
			f.slots[n] = s
			n++
		}
		f.queue = f.queue[:copy(f.queue, f.queue[len(next):])]
		c.sendBatch(f, n)
	}
}

// sendBatch sends the first n datagrams of outward.
func (c *Checker) sendBatch(f *family, n int) {
	tries := 0
	for i := 0; i < n; {
		sent, err := 0, error(nil)
		ctlErr := f.socket.Control(func(fd int) { sent, err = f.outward.send(fd, i, n) })
		at := c.now()
		switch err = errors.Join(ctlErr, err); {
		case err == nil:
			for ; sent > 0; sent-- {
				c.departed(f.slots[i], at)
				i++
			}
			tries = 0
			continue
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			f.full = true
			for ; i < n; i++ {
				f.slots[i].queued = true
				f.queue = append(f.queue, f.slots[i].number)
			}
			return
		}
		c.takeFailures(f)
		if tries++; tries < sendTries {
			continue
		}
		f.slots[i].unsent(wire.Reason(err))
		if f.socket.bound.IsValid() && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			c.sourceAt, f.openAt = 0, 0 // the address is gone
		}
		i++
		tries = 0
	}
}

// learn finds out what requests to the device say of where they come from.
func (s *slot) learn(f *family) error {
	if s.learned == f.generation {
		return nil
	}
	from, err := f.socket.local(&s.place)
	if err != nil {
		return err
	}
	s.host, s.local = hostPort(netip.AddrPortFrom(from, f.socket.port))
	s.learned = f.generation
	return nil
}

// hostPort gives an address as SIP writes it, without and with the port.
func hostPort(a netip.AddrPort) (host, both string) {
	both = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).String()
	return both[:strings.LastIndexByte(both, ':')], both
}

// open opens the socket, if it is not open and the time has come.
func (c *Checker) open(f *family) bool {
	now := c.now()
	if f.socket != nil || now < f.openAt {
		return f.socket != nil
	}
	f.openAt = now + reopenAfter
	s, err := openSocket(f.v6, c.source)
	if err == nil {
		if err = c.poller.Watch(s.Socket, c.round); err != nil {
			err = errors.Join(err, s.close())
		}
	}
	if err != nil {
		f.why = wire.Reason(err)
		return false
	}
	f.socket = s
	f.generation++
	return true
}

// close closes the socket and forgets what was to be sent.
func (f *family) close(c *Checker) {
	_ = f.socket.close() // nothing was buffered
	for _, n := range f.queue {
		c.slots[n].queued = false
	}
	f.socket, f.queue, f.openAt, f.full = nil, f.queue[:0], 0, false
}

// lookAtSource asks from another address if that is what Source says now, and everybody again who owes an answer.
func (c *Checker) lookAtSource(now time.Duration) {
	if now < c.sourceAt {
		return
	}
	c.sourceAt = now + sourceEvery
	is := c.Source().Unmap()
	if is == c.source {
		return
	}
	c.source = is
	for i := range c.families {
		c.families[i].close(c)
	}
	for i := range c.slots {
		s := &c.slots[i]
		s.hangUp()
		c.sendAgain(s)
	}
}

// receive reads whatever has arrived.
func (c *Checker) receive() {
	for i := range c.families {
		if f := &c.families[i]; f.socket != nil {
			c.receiveFrom(f)
		}
	}
}

func (c *Checker) receiveFrom(f *family) {
	c.takeFailures(f)
	for range mostReceived / atOnce {
		n, err := 0, error(nil)
		if ctlErr := f.socket.Control(func(fd int) { n, err = c.inward.receive(fd) }); ctlErr != nil || errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil { // one of the failures, told twice
			c.takeFailures(f)
			continue
		}
		at := c.now()
		for i := range n {
			b, from := c.inward.datagram(i)
			c.take(b, from, at)
		}
		if n < atOnce {
			return
		}
	}
}

// take takes a datagram. Only an answer to the newest request counts, and only from the address that was asked (RFC 3581 4).
func (c *Checker) take(b []byte, from netip.Addr, at time.Duration) {
	s, y, ok := c.match(b, from)
	if !ok {
		c.stats.Ignored++
		return
	}
	c.answered(s, &y, at)
	c.changed(s, at)
}

// match finds the device whose newest request a datagram answers.
func (c *Checker) match(b []byte, from netip.Addr) (*slot, wire.Reply, bool) {
	y, ok := wire.ParseReply(b)
	if !ok {
		return nil, y, false
	}
	m, ok := readMark(y.Branch)
	if !ok || int64(m.slot) >= int64(len(c.slots)) {
		return nil, y, false
	}
	s := &c.slots[m.slot]
	return s, y, s.site.transport == UDP && s.addr.Addr().WithZone("") == from && s.is(m) && s.answeredBy(&y)
}

// takeFailures reads what became of datagrams. Who refuses has to quote the branch of the newest request.
func (c *Checker) takeFailures(f *family) {
	for range mostReceived {
		var e failure
		ok := false
		if err := f.socket.Control(func(fd int) { e, ok = c.errors.next(fd) }); err != nil || !ok {
			return
		}
		m, ok := quoted(e.payload)
		if !ok || int64(m.slot) >= int64(len(c.slots)) {
			continue
		}
		s := &c.slots[m.slot]
		if s.site.transport != UDP || !s.is(m) {
			continue
		}
		now := c.now()
		if e.errno == unix.ECONNREFUSED {
			c.stats.Refusals++
			s.refuse(now, "")
		} else {
			s.noted(e.errno.Error())
		}
		c.changed(s, now)
	}
}
