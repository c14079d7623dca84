package device

import (
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// slot is everything about one device.
type slot struct {
	machine
	request
	device Device
	site   site
	number int32
	login  *login // nil without credentials

	addr    netip.AddrPort // where to send; invalid while the name has no address
	place   place          // the same
	host    string         // what a request says of where it comes from
	local   string         // the same with the port
	learned uint64         // the sockets' generation that host and local are from
	auth    string         // header of the newest request
	sent    time.Duration  // when that was last sent
	planned time.Duration  // when the newest probe was to be sent; 0 once it was
	queued  bool           // it is to be sent

	lookup lookup
	stream stream

	said  said
	heeds atomic.Uint32 // kinds of hints that would change something, as bits
}

// said is what the last report said.
type said struct {
	state     State
	confirmed bool
	basis     basis
	code      int
	detail    string
}

func (s *slot) init(d Device, number int32, fastFail bool) {
	p, _ := d.site() // validated
	s.device, s.site, s.number = d, p, number
	s.machine = machine{check: d.Check, force: d.Force, recovery: d.Recovery, fastFail: fastFail}
	if s.force == 0 {
		s.force = DefaultForce
	}
	s.machine.begin(0, never, 0)
	s.request = newRequest(p, d.MaxForwards, uint32(number))
	if d.Credentials != nil {
		s.login = &login{Credentials: *d.Credentials, uri: p.uri}
	}
	s.said = s.saying()
	s.heed()
}

// heed publishes which hints would change something.
func (s *slot) heed() {
	var bits uint32
	for k := Message; k <= Unavailable; k++ {
		if s.overhears(k) {
			bits |= 1 << k
		}
	}
	s.heeds.Store(bits)
}

func (s *slot) saying() said { return said{s.state, s.confirmed, s.basis, s.code, s.detail} }

// publish plans the next look at a device and notes what is to be reported. It gives what was said before.
func (c *Checker) publish(s *slot, now time.Duration) said {
	c.plan.set(s.number, s.next())
	is, was := s.saying(), s.said
	if is == was {
		return was
	}
	s.said = is
	s.heed()
	c.reports = append(c.reports, c.verdict(s, now))
	if s.check > 0 {
		c.out += count(is.state == OutOfService) - count(was.state == OutOfService)
	}
	return was
}

// changed is called after everything that may have changed a device.
func (c *Checker) changed(s *slot, now time.Duration) {
	was := c.publish(s, now)
	if was.state == s.state {
		return
	}
	message := "device back in service"
	if s.state != InService {
		message = "device out of service"
		if s.lookup.next > now {
			s.lookup.next, c.sweepAt = now, now // perhaps it is elsewhere now
		}
	}
	c.Logger.Info(message, zap.String("target", s.device.Name), zap.String("probe", s.site.uri), zap.Int("code", s.code),
		zap.String("from", string(was.state)), zap.String("to", string(s.state)), zap.String("why", s.text(now)))
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
