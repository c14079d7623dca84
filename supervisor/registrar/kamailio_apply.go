package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// applyRounds bounds how often an address of record is looked up and mended: the second look finds it equal, unless the server took
// something for something else or somebody registered meanwhile.
const applyRounds = 5

// Apply makes the server's bindings of an address of record those wanted. What a phone has registered here since is left as it is, and
// ErrNewer reported. Bindings with less than a second to live count as gone.
func (k *Kamailio) Apply(ctx context.Context, aor string, want []location.Binding) error {
	a := &kamailioApply{
		k: k, aor: aor, failed: map[string]error{}, refused: map[string]int{},
		plan: kamailioPlan{minExpires: k.options.MinExpires, changed: map[string]bool{}},
	}
	if err := a.prepare(ctx, want); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := a.run(ctx); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// kamailioApply is one address of record that is being made equal.
type kamailioApply struct {
	k       *Kamailio
	aor     string
	want    []location.Binding
	plan    kamailioPlan
	failed  map[string]error // by key
	refused map[string]int   // by key: the server did not take what came
}

// prepare says what is wanted in this server's own words.
func (a *kamailioApply) prepare(ctx context.Context, want []location.Binding) error {
	byKey := map[string]int{}
	now := a.k.options.Now()
	for _, w := range want {
		if w.Expires-now < time.Second {
			continue
		}
		kamailioForm(&w)
		key := w.Key()
		if err := checkBinding(&w); err != nil {
			a.failed[key] = fmt.Errorf("a binding: %w", err)
			continue
		}
		socket, err := a.k.translated(ctx, w.Socket)
		if err != nil {
			return err
		}
		w.Socket = socket
		if i, ok := byKey[key]; ok {
			a.want[i] = w
			continue
		}
		byKey[key] = len(a.want)
		a.want = append(a.want, w)
	}
	return nil
}

func (a *kamailioApply) run(ctx context.Context) error {
	for round := range applyRounds {
		have, err := a.k.Lookup(ctx, a.aor)
		if err != nil {
			return errors.Join(append(a.errors(), err)...)
		}
		a.plan.now = a.k.options.Now()
		steps := a.steps(have)
		if len(steps) == 0 || round == applyRounds-1 {
			return errors.Join(append(a.errors(), a.left(have, steps))...)
		}
		for _, s := range steps {
			if err := a.do(ctx, s); err != nil {
				return errors.Join(append(a.errors(), err)...)
			}
		}
	}
	return nil
}

// steps leaves out what has failed for good.
func (a *kamailioApply) steps(have []location.Binding) []kamailioStep {
	var steps []kamailioStep
	for _, s := range a.plan.steps(have, a.want) {
		if a.failed[s.binding.Key()] == nil {
			steps = append(steps, s)
		}
	}
	return steps
}

func (a *kamailioApply) errors() []error {
	var errs []error
	for _, err := range a.failed {
		errs = append(errs, err)
	}
	if a.plan.newer {
		errs = append(errs, ErrNewer)
	}
	return errs
}

// left says what is still to be done after the last round.
func (a *kamailioApply) left(have []location.Binding, steps []kamailioStep) error {
	var errs []error
	for _, s := range steps {
		what := "a binding could not be written"
		if s.remove {
			what = "a binding could not be removed"
		}
		for _, h := range have {
			if !s.remove && h.Key() == s.binding.Key() {
				what = "a binding was written, and differs in " + strings.Join(a.plan.differences(&h, &s.binding), ", ")
			}
		}
		errs = append(errs, errors.New(what))
	}
	return errors.Join(errs...)
}

// do does one step. It gives an error only if the server did not answer.
func (a *kamailioApply) do(ctx context.Context, s kamailioStep) error {
	key := s.binding.Key()
	if s.remove && (a.refused[key] > 0 || s.binding.CSeq >= math.MaxInt32 || checkBinding(&s.binding) != nil) {
		return a.k.removeContact(ctx, a.aor, s.binding.Contact)
	}
	if !s.remove && s.binding.Expires-a.plan.now > forever {
		return a.k.addPermanent(ctx, a.aor, &s.binding)
	}
	if !s.remove && a.refused[key] > 0 { // the server has one that a look-up does not show, because it has just expired
		if err := a.k.removeContact(ctx, a.aor, s.binding.Contact); err != nil {
			return err
		}
	}
	got, err := a.k.register.do(ctx, a.k.registration(a.aor, s))
	switch {
	case err != nil:
		return err
	case got.ok():
	case got.code == 412: // of our own route
		a.plan.changed[key] = true
	case got.code == 400 && a.refused[key] == 0: // "Invalid CSeq" is also what a repetition gets
		a.refused[key]++
	default:
		a.failed[key] = fmt.Errorf("a binding: %w", got.err())
	}
	return nil
}

// registration is the REGISTER that does the step. To remove a binding it gives its own Call-ID and the next CSeq: so the server finds it
// by its instance if it has one, by whatever its matching_mode says otherwise, and a phone that was faster keeps what it registered.
func (k *Kamailio) registration(aor string, s kamailioStep) registration {
	r := registration{
		aor: addressURI(aor), binding: s.binding, seconds: max(remaining(&s.binding, k.options.Now()), 1), methods: kamailioMethods,
		headers: [][2]string{{"X-CS-Seen", s.seen}, {"X-CS-Key", s.binding.Key()}, {"X-CS-Received", s.binding.Received}, {"X-CS-Sock", s.binding.Socket}},
	}
	if s.binding.Branch != 0 {
		r.headers = append(r.headers, [2]string{"X-CS-BFlags", strconv.FormatUint(uint64(s.binding.Branch), 10)})
	}
	if s.remove {
		r.seconds = 0
		r.binding.CSeq++
		r.headers = r.headers[:2]
	}
	return r
}

// addressURI is the address of record as it stands in a URI: Kamailio keeps it without escapes (registrar's extract_aor).
func addressURI(aor string) string {
	user, domain := aor, "localhost" // an address without a domain has any
	if i := strings.LastIndexByte(aor, '@'); i >= 0 {
		user, domain = aor[:i], aor[i+1:]
	}
	var s strings.Builder
	for _, c := range []byte(user) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.!~*'()+$&=/", c) >= 0 {
			s.WriteByte(c)
		} else {
			fmt.Fprintf(&s, "%%%02X", c)
		}
	}
	return s.String() + "@" + domain
}

// removeContact removes by URI the first binding that has it.
func (k *Kamailio) removeContact(ctx context.Context, aor, contact string) error {
	err := k.rpc.call(ctx, nil, "ul.rm_contact", k.options.Table, aor, contact)
	var no *rpcError
	if errors.As(err, &no) && no.Code == 404 {
		return nil
	}
	return err
}

// addPermanent writes a binding that never ends, as whoever made it on the other server did: no REGISTER can.
func (k *Kamailio) addPermanent(ctx context.Context, aor string, b *location.Binding) error {
	q := "-1.0"
	if b.Q >= 0 {
		q = formatQ(b.Q)
	}
	orNone := func(s string) string {
		if s == "" {
			return "."
		}
		return s
	}
	params := []any{
		k.options.Table, aor, b.Contact, 0, json.Number(q), orNone(b.Path), b.Flags, b.Branch, b.Methods, orNone(b.Received),
	}
	if b.Socket != "" {
		params = append(params, b.Socket)
	}
	return k.rpc.call(ctx, nil, "ul.add", params...)
}

// checkBinding reports what can't be put into a message.
func checkBinding(b *location.Binding) error {
	for _, f := range []struct{ what, value, forbidden string }{
		{"Contact", b.Contact, "<>\" \t"}, {"Call-ID", b.CallID, " \t"}, {"received address", b.Received, "<>\" \t"}, {"Path", b.Path, ""},
		{"socket", b.Socket, " \t"}, {"instance", b.Instance, "\"\\"}, {"User-Agent", b.UserAgent, ""},
	} {
		if err := checkText(f.what, f.value); err != nil {
			return err
		}
		if strings.ContainsAny(f.value, f.forbidden) {
			return fmt.Errorf("the %s has a character that would end it", f.what)
		}
	}
	switch {
	case b.Contact == "" || b.CallID == "":
		return errors.New("no Contact or no Call-ID")
	case b.CSeq > math.MaxInt32:
		return errors.New("the CSeq is above 2^31 (RFC 3261, 8.1.1.5)")
	case b.Q > 1000:
		return errors.New("the q value is above 1")
	}
	return nil
}
