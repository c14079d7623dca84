package supervisor

// receive answers a lease message. Its sender is authenticated; its content is still checked, because a node with an old record or a
// witness that claims a role must not get a promise.
func (c *Core) receive(from NodeID, m Message) {
	switch m.Kind {
	case KindRenew:
		c.onRenew(from, m)
	case KindProbe:
		c.onProbe(from, m)
	case KindClose:
		c.onClose(from, m)
	case KindRelease:
		c.onRelease(from, m)
	case KindAck, KindProbeAck, KindNack:
		c.onAnswer(from, m)
	case KindClosed:
		if m.Epoch == c.record.Epoch && c.state == Challenging {
			c.closers[from] = m.Epoch
		}
	case KindRefuse:
		if m.Epoch == c.record.Epoch {
			delete(c.closers, from)
		}
	}
}

// named reports whether from may speak as the primary of epoch e as far as this node's record tells. A newer epoch than the record's
// has been committed, or its primary would not use it: it is believed of a member.
func (c *Core) named(from NodeID, e Epoch) bool {
	if !c.isMember(from) {
		return false
	}
	return e > c.record.Epoch || e == c.record.Epoch && from == c.record.Primary
}

func (c *Core) onRenew(from NodeID, m Message) {
	now, v := c.now.Mono, &c.vote
	if !c.synced || !c.named(from, m.Epoch) && m.Epoch >= c.record.Epoch {
		return
	}
	c.newest = max(c.newest, m.Epoch)
	if m.Wait > c.opt.Timing.Promise(MaxGuard) {
		return // a promise that a restart could forget: only a node with other timers asks for it
	}
	if !v.promise(now, from, m.Epoch, c.record.Epoch, m.Wait) {
		c.send(from, Message{Kind: KindNack, Epoch: v.oldest(c.record.Epoch), Seq: m.Seq, Wait: v.rest(now, from)})
		return
	}
	v.listen(now, c.opt.Timing.Suspect)
	c.send(from, Message{Kind: KindAck, Epoch: m.Epoch, Seq: m.Seq})
}

// onProbe answers a named primary that holds nothing. The answer promises nothing and does not count as having heard it.
func (c *Core) onProbe(from NodeID, m Message) {
	v := &c.vote
	if !c.synced || !c.named(from, m.Epoch) && m.Epoch >= c.record.Epoch {
		return
	}
	if m.Epoch < v.oldest(c.record.Epoch) {
		c.send(from, Message{Kind: KindNack, Epoch: v.oldest(c.record.Epoch), Seq: m.Seq})
		return
	}
	c.send(from, Message{Kind: KindProbeAck, Epoch: m.Epoch, Seq: m.Seq, Wait: v.rest(c.now.Mono, from)})
	c.newest = max(c.newest, m.Epoch) // committed, even if this node's record does not show it yet
}

// onClose is a backup's request never to answer the epoch again. Whoever heard the primary within Suspect refuses: the primary is
// alive for somebody, and an asymmetric fault is judged by reports.
func (c *Core) onClose(from NodeID, m Message) {
	now, v, t := c.now.Mono, &c.vote, c.opt.Timing
	switch {
	case !c.isMember(from) || !c.synced:
		return
	case m.Epoch < v.oldest(c.record.Epoch) && m.Epoch != v.closed:
		c.send(from, Message{Kind: KindNack, Epoch: v.oldest(c.record.Epoch), Seq: m.Seq})
	case now < v.free || m.Epoch != v.closed && !v.silent(now, t.Suspect) || c.holds(m.Epoch):
		c.send(from, Message{Kind: KindRefuse, Epoch: m.Epoch, Seq: m.Seq})
	default:
		v.close(m.Epoch)
		c.send(from, Message{Kind: KindClosed, Epoch: m.Epoch, Seq: m.Seq, Wait: v.rest(now, from)})
	}
}

// holds reports whether this node itself is the primary that somebody calls silent.
func (c *Core) holds(e Epoch) bool {
	return c.record.Epoch == e && c.isPrimary() && (c.state == Serving || c.state == Clinging)
}

func (c *Core) onRelease(from NodeID, m Message) {
	if !c.synced || !c.named(from, m.Epoch) && (c.vote.epoch != m.Epoch || c.vote.holder != from) {
		return
	}
	c.vote.release(c.now.Mono, m.Epoch)
	if m.Epoch <= c.freed {
		return // repeated
	}
	c.freed, c.freedFor = m.Epoch, triggerOf(m.Seq)
	if c.lease.epoch > m.Epoch {
		c.lease.waits[from] = 0   // it has no promise to itself any more
		c.lease.next = c.now.Mono // a claimant waits for this very moment
	}
}

func (c *Core) onAnswer(from NodeID, m Message) {
	now, l := c.now.Mono, &c.lease
	if !c.isPrimary() || l.given >= l.epoch || l.epoch != c.record.Epoch {
		return
	}
	if m.Kind == KindNack && m.Epoch > l.epoch {
		l.bar(now)
		return
	}
	if m.Epoch != l.epoch {
		return
	}
	l.answer(now, from, m.Seq, m.Kind == KindAck, c.quorum()-1, c.opt.Timing.Lease)
	l.waits[from] = now + m.Wait
	// The next renewal need not wait for its turn. Only the newest question's answers hasten it, and only if it can be a renewal:
	// else every probe would be answered by two and cause two more.
	if c.state == Standing && m.Kind != KindAck && m.Seq == l.seq && fit(c) && !closedHere(c) {
		l.next = min(l.next, now+max(m.Wait, c.vote.rest(now, c.opt.Self)))
	}
	c.level()
}
