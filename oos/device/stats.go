package device

import "time"

// lateBy is how long after its time a probe may leave without being counted as late.
const lateBy = 50 * time.Millisecond

// Stats count since New.
type Stats struct {
	Probes   uint64        // OPTIONS that were sent, each once
	Repeated uint64        // the same sent again, for want of an answer or for a challenge
	Answers  uint64        // final answers that counted
	Refusals uint64        // ICMP port unreachable that counted, and connections refused
	Ignored  uint64        // datagrams that answered nothing we had asked, or came from elsewhere
	Late     uint64        // probes that left more than 50 ms after their time
	Latest   time.Duration // how long after its time the latest left
}

// Stats gives the counts.
func (c *Checker) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// departed takes note of a request that was sent now.
func (c *Checker) departed(s *slot, now time.Duration) {
	s.sent = now
	if s.planned == 0 {
		c.stats.Repeated++
		return
	}
	late := now - s.planned
	s.planned = 0
	c.stats.Probes++
	c.stats.Latest = max(c.stats.Latest, late)
	if late > lateBy {
		c.stats.Late++
	}
}
