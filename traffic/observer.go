package traffic

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-sip/understudy/traffic/sip"
)

// observer counts messages.
type observer struct {
	silence   time.Duration
	report    func(Event)
	onMessage func(*sip.Message, Meta)
	seed      maphash.Seed
	pair      map[netip.Addr]bool
	service   map[netip.Addr]bool
	msg       sip.Message // the one under way

	registrations *registrations // nil if nobody wants to know

	mu      sync.Mutex
	stats   Stats
	answers *answers
}

func newObserver(o Options) *observer {
	setOf := func(list []netip.Addr) map[netip.Addr]bool {
		set := map[netip.Addr]bool{}
		for _, a := range list {
			set[a.Unmap()] = true
		}
		return set
	}
	return &observer{
		pair: setOf(o.Pair), service: setOf(o.Service), silence: o.Silence, report: o.Report, onMessage: o.OnMessage,
		seed: maphash.MakeSeed(), answers: newAnswers(o.Patience), registrations: newRegistrations(o.Registered),
	}
}

// message takes one message, or what should be one.
func (o *observer) message(b []byte, meta Meta) {
	_, err := sip.Parse(b, &o.msg)
	if err == nil && o.msg.Complete() {
		o.count(&o.msg, meta)
		o.onMessage(&o.msg, meta)
		if o.registrations != nil {
			o.learn(b, meta)
		}
		return
	}
	if meta.Local || !meta.In {
		return
	}
	if errors.Is(err, sip.ErrKeepAlive) {
		o.keepAlive()
	} else {
		o.garbage()
	}
}

// learn takes what the message says about registrations.
func (o *observer) learn(b []byte, meta Meta) {
	got := o.registrations.take(&o.msg, b, meta)
	if got == nothing {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch got {
	case learned:
		o.stats.Registrations++
	case refused:
		o.stats.RegistrationsRefused++
	case forgotten:
		o.stats.RegistrationsForgotten = o.registrations.crowded
	}
}

func (o *observer) keepAlive() {
	o.mu.Lock()
	o.stats.KeepAlives++
	o.mu.Unlock()
}

func (o *observer) garbage() {
	o.mu.Lock()
	o.stats.ParseErrors++
	o.mu.Unlock()
}

func (o *observer) count(m *sip.Message, meta Meta) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case meta.Local:
		o.stats.Local++
	case o.amongUs(m, meta):
		o.stats.Pair++
	case meta.In:
		o.heard(meta.At)
		o.stats.In.add(m)
		if m.Request {
			o.asked(m, meta.At)
		}
	default:
		o.stats.LastOut = max(o.stats.LastOut, meta.At)
		o.stats.Out.add(m)
		if !m.Request {
			o.answered(m, meta)
		}
	}
}

// amongUs reports whether it is one of the probes of the pair's nodes, or the answer to one.
func (o *observer) amongUs(m *sip.Message, meta Meta) bool {
	other := meta.To
	if meta.In {
		other = meta.From
	}
	if len(o.pair) == 0 || !o.pair[other.Addr().Unmap()] {
		return false
	}
	_, method, ok := m.CSeq()
	return ok && string(method) == "OPTIONS"
}

// records takes TLS records.
func (o *observer) records(n int, meta Meta) {
	if n == 0 || meta.Local {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if meta.In {
		o.stats.RecordsIn += uint64(n)
		o.heard(meta.At)
	} else {
		o.stats.RecordsOut += uint64(n)
		o.stats.LastOut = max(o.stats.LastOut, meta.At)
	}
}

// heard notes that something came from the network.
func (o *observer) heard(at time.Duration) {
	last := o.stats.LastIn
	if at <= last {
		return
	}
	o.stats.LastIn = at
	if last == 0 || at-last >= o.silence {
		e := Event{Kind: Heard}
		if last > 0 {
			e.After = at - last
		}
		o.mu.Unlock() // whoever is told may want to see Stats
		o.report(e)
		o.mu.Lock()
	}
}

func (o *observer) asked(m *sip.Message, at time.Duration) {
	method := methodIndex(m.Method)
	if method == ack {
		return
	}
	if key, _, ok := o.transaction(m); ok {
		o.answers.ask(key, method == invite, at)
	}
}

func (o *observer) answered(m *sip.Message, meta Meta) {
	key, _, ok := o.transaction(m)
	if !ok {
		return
	}
	if m.Status == 503 {
		o.stats.Unavailable++
	}
	if !o.answers.answer(key, m.Status > 100, meta.At) {
		return
	}
	o.stats.LastAnswer = max(o.stats.LastAnswer, meta.At)
	if o.service[meta.From.Addr().Unmap()] {
		o.stats.LastServed = max(o.stats.LastServed, meta.At)
	}
}

// transaction gives a hash of what request and response have in common (RFC 3261 17.1.3; Call-ID and number for clients of RFC 2543,
// which give no branch), with a key of this process: nobody can make up collisions.
func (o *observer) transaction(m *sip.Message) (key uint64, method []byte, ok bool) {
	number, method, ok := m.CSeq()
	if !ok {
		return 0, nil, false
	}
	const odd = 0x9e3779b97f4a7c15
	key = maphash.Bytes(o.seed, m.CallID())
	key = key*odd + maphash.Bytes(o.seed, m.TopViaBranch())
	key = key*odd + maphash.Bytes(o.seed, method)
	key = (key + uint64(number)) * odd
	return max(key^key>>32, 1), method, true
}

func (c *Counts) add(m *sip.Message) {
	if m.Request {
		c.Requests[methodIndex(m.Method)]++
	} else {
		c.Responses[m.Status/100-1]++
	}
}

// expire judges the requests that wait, as of a moment up to which everything was read, and says when to come again.
func (o *observer) expire(upTo time.Duration) (next time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers.expire(upTo)
	return o.answers.next()
}

func (o *observer) next() (time.Duration, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers.next()
}

func (o *observer) lost(packets uint64) {
	o.mu.Lock()
	o.stats.Dropped += packets
	o.mu.Unlock()
}

func (o *observer) capturing(yes bool) {
	o.mu.Lock()
	o.stats.Capturing = yes
	o.mu.Unlock()
}

func (o *observer) snapshot(now time.Duration) Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, a := o.stats, o.answers
	s.Open, s.Forgotten, s.InvitesAnswered = a.open, a.crowded, a.invites
	s.AnsweredAll, s.UnansweredAll = a.total.answered, a.total.unanswered
	s.Answered, s.Unanswered = a.sum(now)
	return s
}
