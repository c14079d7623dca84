package traffic

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"strconv"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// Bounds of what is kept of REGISTERs until their final answers come. What is beyond pushes out the oldest.
const (
	maxRegisters      = 1 << 16
	maxRegisterOctets = 32 << 20 // with what each costs besides
	registerCost      = 256
	registerLife      = requestLife
	maxAccepted       = 1 << 15 // addresses of record, of one generation
)

// registrations finds out which REGISTERs the server has accepted. A REGISTER counts that came from the network, and the answer to it that
// this host sent back there: nobody outside can make such an answer up.
type registrations struct {
	tell func(location.Registration)
	seed maphash.Seed

	pending map[uint64]*register
	ring    register    // of all: ring.newer is the oldest
	octets  int         // cost of all
	crowded uint64      // those that others pushed out
	again   sip.Message // the request, when its answer has come

	// The last REGISTER of an address of record that was accepted, for long enough to know those that are answered late; two generations, so
	// that forgetting is cheap.
	accepted, before map[uint64]acceptance
	turned           time.Duration
}

// register is a REGISTER without a final answer.
type register struct {
	key          uint64
	meta         Meta
	text         []byte
	newer, older *register
}

// acceptance is an answer that was learned from.
type acceptance struct {
	callID uint64 // hash
	cseq   uint32
	at     time.Duration
}

// newRegistrations gives nil if nobody listens.
func newRegistrations(tell func(location.Registration)) *registrations {
	if tell == nil {
		return nil
	}
	r := &registrations{
		tell: tell, seed: maphash.MakeSeed(), pending: map[uint64]*register{},
		accepted: map[uint64]acceptance{}, before: map[uint64]acceptance{},
	}
	r.ring.newer, r.ring.older = &r.ring, &r.ring
	return r
}

// outcome says what came of a message.
type outcome uint8

const (
	nothing   outcome = iota // it has nothing to do with registrations, or changes none
	learned                  // a registration
	refused                  // a registration that is out of bounds
	forgotten                // a REGISTER, and an older one had to go for it
)

// take takes any message; text is what it was parsed from.
func (r *registrations) take(m *sip.Message, text []byte, meta Meta) outcome {
	switch {
	case meta.Local || meta.In != m.Request:
		return nothing
	case m.Request:
		if string(m.Method) == "REGISTER" {
			return r.ask(m, text, meta)
		}
	case m.Status >= 200 && len(r.pending) > 0:
		if _, method, _ := m.CSeq(); string(method) == "REGISTER" {
			return r.answer(m, meta)
		}
	}
	return nothing
}

// ask notes a REGISTER. One that is sent again is the same: the server goes by the first.
func (r *registrations) ask(m *sip.Message, text []byte, meta Meta) outcome {
	r.expire(meta.At)
	key := r.transaction(m, meta.From.Addr())
	if r.pending[key] != nil {
		return nothing
	}
	text = text[:len(text)-len(m.Body)]
	p := &register{key: key, meta: meta, text: bytes.Clone(text), older: r.ring.older, newer: &r.ring}
	p.older.newer, p.newer.older = p, p
	r.pending[key] = p
	r.octets += len(text) + registerCost
	came := nothing
	for len(r.pending) > maxRegisters || r.octets > maxRegisterOctets {
		r.drop(r.ring.newer)
		r.crowded++
		came = forgotten
	}
	return came
}

// answer takes a final answer.
func (r *registrations) answer(m *sip.Message, meta Meta) outcome {
	r.expire(meta.At)
	p := r.pending[r.transaction(m, meta.To.Addr())]
	if p == nil {
		return nothing
	}
	if _, err := sip.Parse(p.text, &r.again); err != nil || !goesBack(&p.meta, &meta, &r.again) {
		return nothing
	}
	r.drop(p)
	if m.Status >= 300 {
		return nothing
	}
	reg, err := readRegistration(&r.again, m, p.meta)
	if err != nil {
		return refused
	}
	if !r.order(&reg, p.meta.At, meta.At) {
		return nothing
	}
	reg.At = meta.At
	r.tell(reg)
	return learned
}

// goesBack reports whether an answer goes where the request came from. A datagram may go to the port that Via names (RFC 3261 18.2.2), and
// may come from another address of this host: servers that listen on all leave the choice to the kernel.
func goesBack(request, answer *Meta, m *sip.Message) bool {
	if request.Transport != UDP || answer.Transport != UDP {
		return request.Transport != UDP && answer.Transport != UDP && answer.To == request.From && answer.From == request.To
	}
	if answer.To.Addr() != request.From.Addr() || answer.From.Port() != request.To.Port() {
		return false
	}
	return answer.To.Port() == request.From.Port() || answer.To.Port() == viaPort(m)
}

// viaPort gives the port of the topmost Via.
func viaPort(m *sip.Message) uint16 {
	_, sentBy := m.TopVia()
	i := bytes.LastIndexByte(sentBy, ':')
	if i <= bytes.LastIndexByte(sentBy, ']') {
		return 5060
	}
	port, _ := strconv.ParseUint(string(bytes.TrimSpace(sentBy[i+1:])), 10, 16)
	return uint16(port)
}

// transaction gives a hash of what the REGISTER and its answer have in common (RFC 3261 17.1.3 and 17.2.3), and of the address of who
// asks: two phones behind two NATs may have the same Via. It has a key of this process: nobody can make up collisions.
func (r *registrations) transaction(m *sip.Message, who netip.Addr) uint64 {
	const odd = 0x9e3779b97f4a7c15
	number, _, _ := m.CSeq()
	_, sentBy := m.TopVia()
	address := who.As16()
	key := maphash.Bytes(r.seed, address[:])
	for _, part := range [...][]byte{m.TopViaBranch(), sentBy, m.CallID(), m.FromTag()} {
		key = key*odd + maphash.Bytes(r.seed, part)
	}
	key = (key + uint64(number)) * odd
	return key ^ key>>32
}

// order reports whether a registration is news: answers may be sent in another order than the server has worked in. One that was under way
// while another was accepted may have been listed before or after that one.
func (r *registrations) order(reg *location.Registration, asked, at time.Duration) bool {
	aor := maphash.String(r.seed, reg.AOR)
	now := acceptance{callID: maphash.String(r.seed, reg.CallID), cseq: reg.CSeq, at: at}
	last, ok := r.accepted[aor]
	if !ok {
		last, ok = r.before[aor]
	}
	if ok && last.at >= asked {
		if last.callID == now.callID && last.cseq > now.cseq {
			return false
		}
		reg.Partial = true
	}
	r.accepted[aor] = now
	if len(r.accepted) >= maxAccepted || at-r.turned > registerLife {
		r.accepted, r.before, r.turned = map[uint64]acceptance{}, r.accepted, at
	}
	return true
}

// expire forgets REGISTERs that no client waits for any more.
func (r *registrations) expire(now time.Duration) {
	for oldest := r.ring.newer; oldest != &r.ring && now-oldest.meta.At > registerLife; oldest = r.ring.newer {
		r.drop(oldest)
	}
}

// next gives the moment at which there is something to forget.
func (r *registrations) next() (time.Duration, bool) {
	if r == nil || len(r.pending) == 0 {
		return 0, false
	}
	return r.ring.newer.meta.At + registerLife, true
}

func (r *registrations) drop(p *register) {
	delete(r.pending, p.key)
	r.octets -= len(p.text) + registerCost
	p.older.newer, p.newer.older = p.newer, p.older
}
