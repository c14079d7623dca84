package device

import (
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
)

// answered takes an answer to the newest request of a device.
func (c *Checker) answered(s *slot, y *wire.Reply, at time.Duration) {
	switch {
	case !s.waiting || s.denied != 0:
		c.stats.Ignored++
		return
	case y.Code < 200:
		s.provisional(at)
		return
	}
	c.stats.Answers++
	detail := ""
	if s.login != nil && (y.Code == 401 || y.Code == 407) {
		err := s.login.challenged(y, s.call)
		if err == nil {
			s.request.follow()
			s.machine.follow(at)
			s.auth = s.login.answer()
			c.send(s)
			return
		}
		detail = err.Error()
	}
	if c.Positive.Positive(y.Code) {
		s.positive(at, y.Code, at-s.sent, detail)
		return
	}
	retry, hasRetry := retryAfter(y)
	s.negative(at, y.Code, retry, hasRetry)
}
