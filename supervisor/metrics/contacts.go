package metrics

// contacts tells of the registrations.
func (p *page) contacts() {
	c := p.Contacts
	if c == nil {
		return
	}
	for node, n := range c.ByNode {
		p.gauge(p.n.contacts, float64(n), string(node))
	}
	p.gauge(p.n.flows, float64(c.Connections))
	p.gauge(p.n.inSync, is(c.InSync))
	p.gauge(p.n.behind, float64(c.Behind))
	if c.LagMS.Max > 0 {
		p.gauge(p.n.lag, c.LagMS.P99/1000)
	}
	p.counter(p.n.syncBytes, c.SentBytes, "sent")
	p.counter(p.n.syncBytes, c.GotBytes, "received")
	p.counter(p.n.told, c.Learned, "learned")
	p.counter(p.n.told, c.Told, "told")
	p.counter(p.n.contactErr, c.Failed)
}
