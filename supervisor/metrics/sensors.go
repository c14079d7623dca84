package metrics

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// sensors tells what this node sees of its devices, interfaces, addresses, of its SIP server's sockets and of its hooks.
func (p *page) sensors() {
	n := p.n
	p.counter(n.hookDrops, p.Counters.HooksDropped)
	for _, d := range p.Devices {
		if d.State == status.DeviceUnchecked {
			continue
		}
		p.gauge(n.device, is(!d.Out()), d.Name)
		if d.RTTMS > 0 {
			p.gauge(n.deviceTime, d.RTTMS/1000, d.Name)
		}
	}
	for _, i := range p.NICs {
		p.gauge(n.nic, is(i.Up), i.Name)
	}
	if s := p.Socket; s != nil {
		p.gauge(n.socketQueue, float64(s.ReceiveQueue))
		p.counter(n.socketDrops, uint64(max(0, s.Drops)))
	}
	if p.self.Witness {
		return
	}
	for _, a := range p.Addresses {
		p.gauge(n.vipExpected, is(p.self.Role == supervisor.RolePrimary), bare(a))
		if p.AddressUp != nil {
			p.gauge(n.vipPresent, is(*p.AddressUp), bare(a))
		}
	}
}

// kinds are those of which messages are told; anything else is "other".
var kinds = [...]string{
	"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
	"1xx", "2xx", "3xx", "4xx", "5xx", "6xx", other,
}

const other = "other"

// traffic tells what passes between the network and this node.
func (p *page) traffic() {
	p.messages("in", p.Counters.MessagesIn)
	p.messages("out", p.Counters.MessagesOut)
	t := p.Traffic
	if t == nil {
		return
	}
	n := p.n
	for direction, ago := range map[string]int64{"in": t.LastInMS, "out": t.LastOutMS} {
		if ago >= 0 {
			p.gauge(n.lastMessage, seconds(p.At.Add(-time.Duration(ago)*time.Millisecond)), direction)
		}
	}
	p.gauge(n.unanswered, float64(t.Unanswered))
	if t.AnswerRatio != nil {
		p.gauge(n.answered, *t.AnswerRatio)
	}
	p.counter(n.captureDrops, t.Dropped)
	p.counter(n.parses, t.ParseErrors)
}

func (p *page) messages(direction string, counts map[string]uint64) {
	if counts == nil {
		return
	}
	rest := uint64(0)
	for _, c := range counts {
		rest += c
	}
	for _, kind := range kinds[:len(kinds)-1] {
		p.counter(p.n.messages, counts[kind], direction, kind)
		rest -= counts[kind]
	}
	p.counter(p.n.messages, rest, direction, other)
}

// alarms counts the active alarms: the objects are left out, as there may be many of them.
func (p *page) alarms() {
	type key struct{ condition, severity string }
	active := map[key]int{}
	for _, a := range p.Alarms {
		active[key{a.Condition, string(a.Severity)}]++
	}
	for k, n := range active {
		p.gauge(p.n.alarms, float64(n), k.condition, k.severity)
	}
}
