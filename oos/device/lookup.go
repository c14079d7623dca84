package device

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
)

// How often a name is looked up: while all is well, and while its device has no address or is out of service.
const (
	lookUpEvery  = time.Minute
	lookUpSooner = 5 * time.Second
	lookUpWithin = 5 * time.Second
	lookers      = 8 // how many names at a time
)

// lookup is what is known of a device's name.
type lookup struct {
	next  time.Duration // when to ask
	under bool          // way
	err   string        // why there is no address
}

// place takes up the address of a device whose host is one.
func (c *Checker) place(s *slot) {
	if a, err := netip.ParseAddr(s.site.host); err == nil {
		c.move(s, a)
		return
	}
	c.named = append(c.named, s.number)
	s.lookup.err = "not looked up yet"
}

// move has the device at another address.
func (c *Checker) move(s *slot, a netip.Addr) {
	a = a.Unmap()
	var zone uint32
	if a.Zone() != "" {
		if link, err := net.InterfaceByName(a.Zone()); err == nil {
			zone = uint32(link.Index)
		}
	}
	c.addrMu.Lock()
	old := s.addr.Addr().WithZone("")
	if there := slices.DeleteFunc(c.byAddr[old], func(n int32) bool { return n == s.number }); len(there) > 0 {
		c.byAddr[old] = there
	} else {
		delete(c.byAddr, old)
	}
	c.byAddr[a.WithZone("")] = append(c.byAddr[a.WithZone("")], s.number)
	c.addrMu.Unlock()
	s.addr = netip.AddrPortFrom(a, s.site.port)
	s.place = newPlace(s.addr, zone)
	s.learned = 0
}

// lookUp has the names looked up whose time has come, and gives when the next one's comes.
func (c *Checker) lookUp(now time.Duration) (next time.Duration) {
	next = never
	for _, n := range c.named {
		s := &c.slots[n]
		if s.lookup.under {
			continue
		}
		if s.lookup.next <= now {
			s.lookup.under = true
			c.lookups <- n // there is room for each
			continue
		}
		next = min(next, s.lookup.next)
	}
	return next
}

// looker looks names up until ctx ends.
func (c *Checker) looker(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-c.lookups:
			within, cancel := context.WithTimeout(ctx, lookUpWithin)
			addrs, err := c.LookUp(within, c.slots[n].site.host)
			cancel()
			c.tell(note{slot: n, looked: true, addrs: addrs, err: err})
		}
	}
}

// lookedUp takes the addresses of a name. The device stays where it is while that is among them and it answers; else it moves on to the
// next one. An error changes nothing for who has an address.
func (c *Checker) lookedUp(s *slot, n *note) {
	s.lookup.under = false
	defer func() {
		s.lookup.next = n.at + lookUpEvery
		if !s.addr.IsValid() || s.state == OutOfService {
			s.lookup.next = n.at + lookUpSooner
		}
		c.sweepAt = min(c.sweepAt, s.lookup.next)
	}()
	if len(n.addrs) == 0 {
		if s.lookup.err = "cannot look up " + s.site.host; n.err != nil {
			s.lookup.err += ": " + wire.Reason(n.err)
		}
		return
	}
	for i := range n.addrs {
		n.addrs[i] = n.addrs[i].Unmap()
	}
	slices.SortFunc(n.addrs, netip.Addr.Compare)
	had := s.addr.IsValid()
	i := slices.Index(n.addrs, s.addr.Addr())
	if i >= 0 && s.state == OutOfService {
		i = (i + 1) % len(n.addrs)
	}
	if to := n.addrs[max(i, 0)]; to != s.addr.Addr() {
		c.move(s, to)
		s.hangUp()
		if !had || s.state != OutOfService {
			c.sendAgain(s)
		}
	}
}
