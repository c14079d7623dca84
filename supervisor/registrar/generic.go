package registrar

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// GenericOptions say how to reach a registrar of which nothing is known but that it understands REGISTER.
type GenericOptions struct {
	Register netip.AddrPort // where it listens, by UDP
	Domain   string         // of the REGISTER, where addresses of record have none

	// Credentials are what the server wants to see for an address of record; nil: nothing. A captured Authorization can't be replayed, it is bound
	// to its challenge.
	Credentials func(aor string) (username, password string)

	// Spoof sends each REGISTER from the phone's own address, for servers that call a phone where its REGISTER came from, whatever its Contact
	// says. The answer goes to the phone, which did not ask for it and drops it, or to a firewall rule; what has been sent counts as done.
	// It needs CAP_NET_RAW and goes with no credentials.
	Spoof bool

	Remember int                  // addresses of record of which it is known what was applied; the one that was longest not applied is forgotten
	Limit    time.Duration        // for one REGISTER
	Window   int                  // REGISTERs at a time
	Now      func() time.Duration // the clock of location.Binding.Expires
	Wall     func() time.Time     // for the CSeq of REGISTERs of ours
	Logger   *zap.Logger
}

// DefaultGenericOptions are options that lack the address.
func DefaultGenericOptions() GenericOptions {
	return GenericOptions{Remember: 1 << 20, Limit: 5 * time.Second, Window: 32, Wall: time.Now, Logger: zap.NewNop()}
}

func (o *GenericOptions) validate() error {
	var errs []error
	if !o.Register.IsValid() || o.Register.Port() == 0 {
		errs = append(errs, errors.New("no address to register at"))
	}
	if o.Spoof && o.Credentials != nil {
		errs = append(errs, errors.New("credentials need an answer, and with the phone's own address there is none"))
	}
	if o.Remember <= 0 || o.Window <= 0 || o.Limit <= 0 {
		errs = append(errs, errors.New("nothing to remember, no window or no time limit"))
	}
	if o.Now == nil || o.Wall == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// contactsLimit is how many bindings of one address of record are written and remembered: more than any registrar takes.
const contactsLimit = 64

// Generic is a registrar of any kind. It can't be asked, and tells nothing: what there is to remove is what was applied before and is not
// wanted any more. What its restart has lost comes back when it is applied again.
type Generic struct {
	options GenericOptions
	client  *registerClient
	spoofer spoofer

	mu      sync.Mutex
	applied map[string]*list.Element // of *appliedAOR, the one that was longest not applied at the front
	order   *list.List
	short   sync.Once // for the warning that the server shortens what it is given
}

// appliedAOR is what an address of record has at the server, as far as we know.
type appliedAOR struct {
	aor      string
	bindings []location.Binding
}

var _ Server = (*Generic)(nil)

// NewGeneric makes the adapter.
func NewGeneric(o GenericOptions) (*Generic, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("generic: %w", err)
	}
	client := newRegisterClient(registerOptions{Server: o.Register, T1: 500 * time.Millisecond, Limit: o.Limit, Window: o.Window})
	return &Generic{options: o, client: client, applied: make(map[string]*list.Element), order: list.New()}, nil
}

// Close closes the sockets.
func (g *Generic) Close() error { return errors.Join(g.client.Close(), g.spoofer.Close()) }

// Lookup can't be had.
func (g *Generic) Lookup(context.Context, string) ([]location.Binding, error) {
	return nil, ErrCannotAsk
}

// Watch can't be had.
func (g *Generic) Watch(context.Context, func(Hint)) error { return ErrNoPush }

// Generation can't be had.
func (g *Generic) Generation(context.Context) (string, error) { return "", ErrCannotAsk }

// Count can't be had.
func (g *Generic) Count(context.Context) (int, error) { return 0, ErrCannotAsk }

// Apply sends REGISTERs: first those that remove what is no longer wanted, for servers that keep but one Contact. A binding that was
// applied before is sent once more: nothing else brings it back after the server's restart.
func (g *Generic) Apply(ctx context.Context, aor string, want []location.Binding) error {
	live := unexpired(want, g.options.Now())
	var errs []error
	if n := len(live) - contactsLimit; n > 0 {
		errs = append(errs, fmt.Errorf("register: %d bindings more than %d for one address of record", n, contactsLimit))
		live = live[:contactsLimit]
	}
	if g.options.Spoof {
		live = slices.DeleteFunc(live, func(b location.Binding) bool { return b.Connected() }) // nobody can fake a connection
	}
	before := g.remembered(aor)
	_, remove := difference(before, live, byContact, func(_, _ *location.Binding) bool { return true })
	var after []location.Binding
	for i := range remove {
		b := &remove[i]
		if remaining(b, g.options.Now()) <= 0 {
			continue // the server has seen to it
		}
		b.CSeq++ // RFC 3261, 10.3: or else it is taken for an old one
		if err := g.send(ctx, aor, b, 0); err != nil {
			errs = append(errs, err)
			after = append(after, *b)
		}
	}
	for i := range live {
		b := &live[i]
		old := slices.IndexFunc(before, func(o location.Binding) bool { return o.Contact == b.Contact })
		var last *location.Binding
		if old >= 0 {
			last = &before[old]
		}
		g.identify(aor, b, last)
		err := g.send(ctx, aor, b, remaining(b, g.options.Now()))
		var no *refusal
		if errors.As(err, &no) && no.repeated() && last != nil && last.CallID == b.CallID && last.CSeq == b.CSeq {
			err = nil // it has had exactly this one, and says so
		}
		if err != nil {
			errs = append(errs, err)
		}
		after = append(after, *b) // even if no answer came: it may have arrived
	}
	g.remember(aor, after)
	return errors.Join(errs...)
}

// identify gives a binding that nobody knows the REGISTER of a Call-ID and CSeq of ours.
func (g *Generic) identify(aor string, b, last *location.Binding) {
	if b.CallID == "" {
		sum := sha256.Sum256([]byte(aor + "\n" + b.Contact))
		b.CallID = hex.EncodeToString(sum[:16])
	}
	if b.CSeq != 0 {
		return
	}
	b.CSeq = uint32(g.options.Wall().Unix() & 0x7fffffff) // grows, whatever was forgotten meanwhile
	if last != nil && last.CallID == b.CallID && last.CSeq >= b.CSeq {
		b.CSeq = last.CSeq + 1
	}
}

// refusal is a final answer that says no.
type refusal struct{ answer }

func (r *refusal) Error() string { return fmt.Sprintf("answered %d %s", r.code, r.reason) }

// repeated reports whether it is what registrars say to a CSeq that they have seen.
func (r *refusal) repeated() bool { return r.code == 400 || r.code == 500 }

func (g *Generic) send(ctx context.Context, aor string, b *location.Binding, seconds int) error {
	if !strings.Contains(aor, "@") {
		aor += "@" + g.options.Domain
	}
	r := registration{aor: aor, binding: *b, seconds: seconds}
	if g.options.Spoof {
		return g.spoof(r)
	}
	if g.options.Credentials != nil {
		r.username, r.password = g.options.Credentials(aor)
	}
	a, err := g.client.do(ctx, r)
	if err != nil {
		return err
	}
	if !a.ok() {
		return fmt.Errorf("register at %s: %w", g.options.Register, &refusal{a})
	}
	if wanted := time.Duration(seconds) * time.Second; a.granted >= 0 && a.granted < wanted-slack {
		g.short.Do(func() {
			g.options.Logger.Warn("the server grants less time than the other one did: what is not applied again in time is lost there", zap.Duration("took", a.granted))
		})
	}
	return nil
}

// spoof sends it from where the phone would have sent it.
func (g *Generic) spoof(r registration) error {
	from, err := phoneAddress(&r.binding)
	if err != nil {
		return err
	}
	r.sender = from
	request, err := r.octets(from, newBranch(), "")
	if err != nil {
		return err
	}
	if err := g.spoofer.send(from, g.options.Register, request); err != nil {
		return fmt.Errorf("register at %s with the phone's address: %w", g.options.Register, err)
	}
	return nil
}

// phoneAddress is where the phone's REGISTER came from.
func phoneAddress(b *location.Binding) (netip.AddrPort, error) {
	uri := b.Received
	if uri == "" {
		uri = b.Contact
	}
	_, host, _, _ := cutURI(uri)
	if at, err := netip.ParseAddrPort(host); err == nil && at.Port() != 0 {
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.AddrPort{}, errors.New("register: where the phone's REGISTER came from is not known")
	}
	return netip.AddrPortFrom(addr.Unmap(), 5060), nil
}

func (g *Generic) remembered(aor string) []location.Binding {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.applied[aor]
	if !ok {
		return nil
	}
	return slices.Clone(e.Value.(*appliedAOR).bindings)
}

func (g *Generic) remember(aor string, bindings []location.Binding) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e, ok := g.applied[aor]; ok {
		g.order.Remove(e)
		delete(g.applied, aor)
	}
	if len(bindings) == 0 {
		return
	}
	if len(bindings) > 2*contactsLimit { // of removals that fail again and again
		bindings = bindings[len(bindings)-2*contactsLimit:]
	}
	g.applied[aor] = g.order.PushBack(&appliedAOR{aor: aor, bindings: bindings})
	for len(g.applied) > g.options.Remember {
		oldest := g.order.Front()
		g.order.Remove(oldest)
		delete(g.applied, oldest.Value.(*appliedAOR).aor)
	}
}
