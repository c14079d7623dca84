package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/traffic/hep"
)

// Monitor watches SIP.
type Monitor struct {
	o       Options
	log     *zap.Logger
	ours    map[netip.Addr]bool
	kinds   map[uint16]Transport // of ports: TCP for any in the clear, TLS, WS
	sources []*keeper

	// Of the goroutine of Run.
	*observer
	poller    *raw.Poller
	alarm     time.Duration // when it rings; 0 if it is not set
	fragments reassembler
	tracker   *tracker
	meta      Meta // of the packet under way
	packet    packet
	sees      bool // there are interfaces, and all of them are captured
}

// New checks the options.
func New(o Options) (*Monitor, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	m := &Monitor{
		o: o, log: o.Logger.Named("traffic"), observer: newObserver(o), fragments: newReassembler(),
		ours: map[netip.Addr]bool{}, kinds: map[uint16]Transport{},
	}
	m.tracker = newTracker(func(flowKey) reader { return newStream(m.observer, m.meta) })
	var addrs []netip.Addr
	for _, a := range o.Addresses {
		a = a.Unmap().WithZone("")
		m.ours[a] = true
		addrs = append(addrs, a)
	}
	for ports, kind := range map[*[]uint16]Transport{&o.Ports: TCP, &o.TLSPorts: TLS, &o.WSPorts: WS} {
		for _, p := range *ports {
			m.kinds[p] = kind
		}
	}
	for _, link := range o.Interfaces {
		rules := filter{addrs: addrs, ports: o.ports()}
		m.sources = append(m.sources, &keeper{m: m, source: newCapture(link, rules, m.take, m.missed)})
	}
	if o.HEP.IsValid() {
		m.sources = append(m.sources, &keeper{m: m, source: &hepListener{addr: o.HEP, take: m.takeHEP, bad: m.garbage, lost: m.lost}})
	}
	return m, nil
}

// Run watches until ctx ends. Interfaces are looked up in the network namespace of the thread that it is called on.
func (m *Monitor) Run(ctx context.Context) error {
	var err error
	if m.poller, err = raw.NewPoller(m.tick); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	if err = m.tick(); err == nil {
		err = m.poller.Run(ctx)
	}
	errs := []error{err, m.poller.Close()}
	for _, k := range m.sources {
		if k.isOpen {
			k.isOpen = false
			errs = append(errs, k.close())
		}
	}
	m.capturing(false)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	return nil
}

// Snapshot gives what was seen so far. It is cheap, and any goroutine may call it.
func (m *Monitor) Snapshot() Stats { return m.snapshot(raw.Clock()) }

// settle is how long a packet may stay in a ring before it is seen, and some.
const settle = 100 * time.Millisecond

// tick does what time brings: sources that are tried again, requests that were not answered, octets nobody asks for any more. What has
// arrived counts before anything is judged.
func (m *Monitor) tick() error {
	m.alarm = 0
	now := raw.Clock()
	for _, k := range m.sources {
		k.drain()
		k.start(now)
	}
	m.expire(now - settle)
	if m.registrations != nil {
		m.registrations.expire(now)
	}
	m.tracker.sweep(now)
	m.fragments.expire(now)
	m.schedule(now)
	return nil
}

// sweepEvery is how often octets are looked at that wait for others.
const sweepEvery = 500 * time.Millisecond

// schedule sets the alarm for whatever comes next, if anything.
func (m *Monitor) schedule(now time.Duration) {
	var at time.Duration
	want := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if due, ok := m.next(); ok {
		want(max(due+settle, now+settle)) // one ring for all that become due within a while
	}
	if due, ok := m.registrations.next(); ok {
		want(due + settle)
	}
	if m.tracker.waits() || len(m.fragments.held) > 0 {
		want(now + sweepEvery)
	}
	for _, k := range m.sources {
		if !k.isOpen {
			want(k.retry)
		}
	}
	if at != 0 && (m.alarm == 0 || at < m.alarm) {
		m.alarm = at
		m.poller.Alarm(at - now)
	}
}

// updateCapturing notes whether all sources are open.
func (m *Monitor) updateCapturing() {
	all := true
	m.sees = len(m.o.Interfaces) > 0
	for _, k := range m.sources {
		all = all && k.isOpen
		if _, is := k.source.(*capture); is {
			m.sees = m.sees && k.isOpen
		}
	}
	m.capturing(all)
}

// missed takes note of packets that a capture could not take.
func (m *Monitor) missed(packets uint64) {
	m.lost(packets)
	m.tracker.lost(raw.Clock())
}

// take takes a packet of an interface.
func (m *Monitor) take(c *capture, f *frame, at time.Duration) {
	p := &m.packet
	if f.direction == unix.PACKET_OTHERHOST || !p.decode(f.protocol, f.data) {
		return
	}
	in := f.direction != unix.PACKET_OUTGOING
	if c.local {
		in = m.ours[p.dst]
	}
	if in && !m.ours[p.dst] || !in && !m.ours[p.src] {
		return // passing through
	}
	m.meta = Meta{In: in, Local: c.local, At: at}
	if p.fragment && (!m.fragments.add(p, at) || !p.skipExtensions() || p.fragment) {
		return
	}
	m.transport(p)
}

// transport takes a packet that is whole.
func (m *Monitor) transport(p *packet) {
	src, dst, ok := p.ports()
	if !ok {
		return
	}
	m.meta.From, m.meta.To = netip.AddrPortFrom(p.src, src), netip.AddrPortFrom(p.dst, dst)
	own, other := dst, src
	if !m.meta.In {
		own, other = src, dst
	}
	kind, ok := m.kinds[own]
	if !ok {
		if kind, ok = m.kinds[other]; !ok {
			return
		}
	}
	m.meta.Transport = kind
	switch p.proto {
	case unix.IPPROTO_UDP:
		if data, ok := p.datagram(); ok && kind == TCP {
			m.meta.Transport = UDP
			m.message(data, m.meta)
		}
	case unix.IPPROTO_TCP:
		if s, ok := p.segment(); ok {
			m.tracker.add(keyOf(m.meta.From, m.meta.To), s, m.meta.At)
		}
	}
}

// takeHEP takes a packet of HEP. Addresses of both sides that are ours, or a loopback address, are this host's conversation with itself.
func (m *Monitor) takeHEP(h *hep.Packet, at time.Duration) {
	if h.Type != hep.SIP && h.Type != 0 {
		return
	}
	isOurs := func(a netip.Addr) bool { return m.ours[a] || a.IsLoopback() }
	src, dst := h.Src.Addr(), h.Dst.Addr()
	meta := Meta{From: h.Src, To: h.Dst, In: isOurs(dst), Local: isOurs(src) && isOurs(dst), At: at, Transport: TCP}
	if !meta.In && !isOurs(src) {
		return
	}
	own := meta.To.Port()
	if !meta.In {
		own = meta.From.Port()
	}
	kind, known := m.kinds[own]
	switch {
	case h.Proto == hep.UDP:
		meta.Transport = UDP
	case h.Proto == hep.SCTP:
		meta.Transport = SCTP
	case known && kind != TCP:
		meta.Transport = kind
	case h.Proto == hep.TLS:
		meta.Transport = TLS
	}
	if m.sees && known && kind != TLS && meta.Transport != TLS && meta.Transport != SCTP {
		return // the interfaces show it
	}
	m.message(h.Payload, meta)
}
