package registrar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

const (
	pushLimit    = 64 << 10         // octets of a datagram
	pushAOR      = 1 << 10          // octets of an address of record
	pushBindings = 32               // more than the route tells
	pushRoom     = 4 << 20          // octets that wait in the socket while we are busy
	complainEach = 10 * time.Second // about datagrams that say nothing
)

// errPush reports a datagram that is not of our route.
var errPush = errors.New("not a datagram of the route UNDERSTUDY_PUSH")

// kamailioPush is what the route UNDERSTUDY_PUSH tells: the address of record in the first line, then name=value lines, those of a
// binding beginning with its Contact.
//
//	CS1 1001@example.net
//	t=1795300499        the server's clock
//	a=0                 1: addresses of record are case-sensitive
//	i=843817637684230@198.51.100.7
//	s=1826              Call-ID and CSeq of the REGISTER
//	n=1                 how many bindings there are; of many, none follows
//	c=sip:1001@192.0.2.7:5060
//	e=1795301099        its expiry on the server's clock, 0 for ever; and q, i, s, u(ser agent), r(eceived), p(ath), k (socket),
//	...                 I(nstance), R(eg-id), f(lags), b(ranch flags), m(ethods)
type kamailioPush struct {
	aor           string // as in the REGISTER
	caseSensitive bool
	callID        string
	cseq          uint32
	count         int
	bindings      []location.Binding // expiry relative to the moment of the datagram
}

// parsePush reads a datagram. Anything may come: what it tells is worth a question and no more.
func parsePush(data []byte) (*kamailioPush, error) {
	first, rest, ok := strings.Cut(string(data), "\r\n")
	aor, ours := strings.CutPrefix(first, "CS1 ")
	user, domain, _ := strings.Cut(aor, "@")
	if !ok || !ours || user == "" || domain == "" || len(aor) > pushAOR || checkText("address of record", aor) != nil {
		return nil, errPush
	}
	p := &kamailioPush{aor: aor, count: -1}
	now := int64(-1)
	body, ok := strings.CutSuffix(rest, "\r\n")
	if !ok {
		return nil, errPush // cut short
	}
	lines := pushReader{}
	for line := range strings.SplitSeq(unfold(body), "\r\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok || len(name) != 1 || checkText(name, value) != nil {
			return nil, errPush
		}
		switch {
		case name == "c":
			if len(p.bindings) == pushBindings {
				return nil, errPush
			}
			p.bindings = append(p.bindings, location.Binding{Contact: value, Q: location.NoQ, Methods: location.AllMethods})
		case len(p.bindings) > 0:
			lines.binding(&p.bindings[len(p.bindings)-1], name, value, now)
		case name == "t":
			now = lines.number(value, 1<<62)
		case name == "a":
			p.caseSensitive = value == "1"
		case name == "i":
			p.callID = value
		case name == "s":
			p.cseq = uint32(lines.number(value, 1<<32-1))
		case name == "n":
			p.count = int(lines.number(value, 1<<31-1))
		}
	}
	if lines.wrong || now < 0 || p.count < 0 || len(p.bindings) != 0 && len(p.bindings) != p.count {
		return nil, errPush
	}
	for i := range p.bindings {
		kamailioForm(&p.bindings[i])
	}
	return p, nil
}

// pushReader remembers that something could not be read.
type pushReader struct{ wrong bool }

func (r *pushReader) number(s string, limit int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > limit {
		r.wrong = true
		return 0
	}
	return n
}

func (r *pushReader) binding(b *location.Binding, name, value string, now int64) {
	bits := func(s string) uint32 { return uint32(r.number(s, 1<<32-1)) }
	switch name {
	case "e":
		at := r.number(value, 1<<40)
		b.Expires = time.Duration(at-now) * time.Second
		if at == 0 {
			b.Expires = permanent
		}
	case "q":
		if value != "-1" {
			b.Q = int(r.number(value, 1000))
		}
	case "i":
		b.CallID = value
	case "s":
		b.CSeq = bits(value)
	case "u":
		b.UserAgent = value
	case "r":
		b.Received = value
	case "p":
		b.Path = value
	case "k":
		b.Socket = value
	case "I":
		b.Instance = value
	case "R":
		b.RegID = bits(value)
	case "f":
		b.Flags = bits(value)
	case "b":
		b.Branch = bits(value)
	case "m":
		b.Methods = bits(value)
	}
}

// key is the address of record as usrloc calls it (registrar's extract_aor).
func (p *kamailioPush) key(domains bool) string {
	i := strings.LastIndexByte(p.aor, '@')
	user, domain := p.aor[:i], p.aor[i+1:]
	if !p.caseSensitive {
		user = lowerASCII(user)
	}
	if !domains {
		return user
	}
	return user + "@" + lowerASCII(domain)
}

// lowerASCII leaves all else as it is, as Kamailio does.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Watch calls hint for each change that the route UNDERSTUDY_PUSH tells of. The bindings that come with it are those of that moment: two
// processes of the server may tell in the wrong order, so they are no more than a hint either.
func (k *Kamailio) Watch(ctx context.Context, hint func(Hint)) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(k.options.Push))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(pushRoom) // as much as the system allows
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	c := complaints{k: k}
	buffer := make([]byte, pushLimit)
	for {
		// Nothing from the network gets to an address on loopback. The server may send from any of its own.
		n, _, err := conn.ReadFromUDPAddrPort(buffer)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("watch: %w", err)
		}
		h, err := k.hint(ctx, buffer[:n])
		if err != nil {
			c.add("a change was told in vain", err)
			continue
		}
		hint(h)
	}
}

// hint reads a datagram. The name of the address of record depends on how the server is configured, which it is asked for once.
func (k *Kamailio) hint(ctx context.Context, data []byte) (Hint, error) {
	p, err := parsePush(data)
	if err != nil {
		return Hint{}, err
	}
	k.caseSensitive.Store(p.caseSensitive)
	domains, err := k.hasDomains(ctx)
	if err != nil {
		return Hint{}, err
	}
	now := k.options.Now()
	for i := range p.bindings {
		if p.bindings[i].Expires != permanent {
			p.bindings[i].Expires += now
		}
	}
	return Hint{AOR: p.key(domains), CallID: p.callID, CSeq: p.cseq, Bindings: p.bindings}, nil
}

// Malformed is how many datagrams told of no change.
func (k *Kamailio) Malformed() uint64 { return k.malformed.Load() }

// complaints bounds the log: anybody on this host can send datagrams.
type complaints struct {
	k    *Kamailio
	last time.Time
}

func (c *complaints) add(text string, err error) {
	n := c.k.malformed.Load()
	if errors.Is(err, errPush) {
		n = c.k.malformed.Add(1)
	}
	if now := time.Now(); now.Sub(c.last) >= complainEach {
		c.last = now
		c.k.log.Warn(text, zap.Uint64("attempt", n), zap.Error(err))
	}
}
