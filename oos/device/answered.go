package device

import "time"

// answered takes an answer to the newest request of a device.
func (c *Checker) answered(s *slot, y *reply, at time.Duration) {
	switch {
	case !s.waiting || s.denied != 0:
		c.stats.Ignored++
		return
	case y.code < 200:
		s.provisional(at)
		return
	}
	c.stats.Answers++
	detail := ""
	if s.login != nil && (y.code == 401 || y.code == 407) {
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
	if c.Positive.Positive(y.code) {
		s.positive(at, y.code, at-s.sent, detail)
		return
	}
	retry, hasRetry := y.retryAfter()
	s.negative(at, y.code, retry, hasRetry)
}
