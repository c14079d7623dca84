package registrar

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// FreeSWITCHOptions say how to talk to a FreeSWITCH on this host.
type FreeSWITCHOptions struct {
	Socket   string // its event socket: "127.0.0.1:8021"
	Password string
	Profile  string // of mod_sofia, the same on both servers

	Limit  time.Duration        // for one question
	Settle time.Duration        // until what was written must be seen: FreeSWITCH does it when it gets around to it
	Now    func() time.Duration // the clock of location.Binding.Expires
	Logger *zap.Logger
}

// DefaultFreeSWITCHOptions are options that lack the password.
func DefaultFreeSWITCHOptions() FreeSWITCHOptions {
	return FreeSWITCHOptions{Socket: "127.0.0.1:8021", Profile: "internal", Limit: 5 * time.Second, Settle: 2 * time.Second, Logger: zap.NewNop()}
}

func (o *FreeSWITCHOptions) validate() error {
	var errs []error
	if _, err := netip.ParseAddrPort(o.Socket); err != nil {
		errs = append(errs, fmt.Errorf("event socket: %w", err))
	}
	if o.Password == "" || !plain(o.Password) {
		errs = append(errs, errors.New("no password, or one of more than one line"))
	}
	if !word(o.Profile) {
		errs = append(errs, fmt.Errorf("%q is no name of a profile", o.Profile))
	}
	if o.Limit <= 0 || o.Settle <= 0 {
		errs = append(errs, errors.New("no time limit"))
	}
	if o.Now == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// word reports whether s is one argument of a command, whatever it contains.
func word(s string) bool {
	return s != "" && len(s) <= aorLimit && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`'"\`, r) }) < 0
}

// FreeSWITCH is a profile of a FreeSWITCH. It tells its registrations apart by their Call-ID, and without multiple-registrations
// it has just one for each user. It keeps neither CSeq nor instance, q or socket; what the phone calls itself in its Contact is lost too.
type FreeSWITCH struct {
	options FreeSWITCHOptions
	socket  *session[*eslConnection]
}

var _ Server = (*FreeSWITCH)(nil)

// NewFreeSWITCH makes the adapter.
func NewFreeSWITCH(o FreeSWITCHOptions) (*FreeSWITCH, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("freeswitch: %w", err)
	}
	f := &FreeSWITCH{options: o}
	f.socket = &session[*eslConnection]{
		turn: make(chan struct{}, 1),
		dial: func(ctx context.Context) (*eslConnection, error) { return dialESL(ctx, &f.options) },
		close: func(c *eslConnection) {
			c.conn.Close()
		},
		guard: func(ctx context.Context, c *eslConnection) func() bool {
			_ = c.conn.SetDeadline(time.Now().Add(f.options.Limit))
			return context.AfterFunc(ctx, func() { c.conn.Close() })
		},
		fatal: func(err error) bool { var no *eslError; return !errors.As(err, &no) },
	}
	return f, nil
}

// Close closes the connection.
func (f *FreeSWITCH) Close() error {
	f.socket.end()
	return nil
}

// api gives what a command prints.
func (f *FreeSWITCH) api(ctx context.Context, command string) (text string, err error) {
	err = f.socket.do(ctx, func(c *eslConnection) error {
		text, err = c.api(command)
		return err
	})
	return text, err
}

// Lookup asks for the registrations of a user.
func (f *FreeSWITCH) Lookup(ctx context.Context, aor string) ([]location.Binding, error) {
	user, host, ok := strings.Cut(aor, "@")
	if !ok || user == "" || host == "" || !word(aor) {
		return nil, errors.New("look up: no user and host that could be asked for")
	}
	text, err := f.api(ctx, "sofia xmlstatus profile "+f.options.Profile+" user "+aor)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(text, "<registrations>") { // "Invalid Profile!"
		return nil, fmt.Errorf("look up: %w: %s", errESL, printable(text))
	}
	return parseRegistrations(text, aor, f.options.Now()), nil
}

// asFreeSWITCH is the binding as Lookup tells it once it is written.
func asFreeSWITCH(b *location.Binding) location.Binding {
	c := *b
	c.Contact, c.Received, c.Path = fromFreeSWITCH(toFreeSWITCH(b))
	if c.UserAgent == "unknown" {
		c.UserAgent = ""
	}
	return c
}

func sameFreeSWITCH(have, want *location.Binding) bool {
	w := asFreeSWITCH(want)
	return have.Contact == w.Contact && have.Received == w.Received && have.Path == w.Path && have.CallID == w.CallID &&
		have.UserAgent == w.UserAgent && sameTime(have, want)
}

// byCallID tells bindings apart as mod_sofia does.
func byCallID(b *location.Binding) string { return b.CallID }

// Apply injects the events by which FreeSWITCHes tell each other of registrations (mod_event_multicast; mod_sofia takes them whoever sent them).
// Removals come first, and must be seen before anything is added: without multiple-registrations each removes all of a user's.
func (f *FreeSWITCH) Apply(ctx context.Context, aor string, want []location.Binding) error {
	for i := range want {
		if want[i].CallID == "" {
			return errors.New("write: a binding without Call-ID, by which FreeSWITCH tells them apart")
		}
	}
	write, remove, err := f.missing(ctx, aor, want)
	if err != nil || len(write)+len(remove) == 0 {
		return err
	}
	for i := range remove {
		if err := f.inject(ctx, aor, "sofia::unregister", &remove[i]); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		if write, err = f.settled(ctx, aor, want, false); err != nil {
			return err
		}
	}
	for i := range write {
		if err := f.inject(ctx, aor, "sofia::register", &write[i]); err != nil {
			return err
		}
	}
	_, err = f.settled(ctx, aor, want, true)
	return err
}

func (f *FreeSWITCH) missing(ctx context.Context, aor string, want []location.Binding) (write, remove []location.Binding, err error) {
	have, err := f.Lookup(ctx, aor)
	if err != nil {
		return nil, nil, err
	}
	write, remove = difference(have, unexpired(want, f.options.Now()), byCallID, sameFreeSWITCH)
	return write, remove, nil
}

// settled waits until nothing is too much, and, if all is set, nothing is missing either. It gives what is missing.
func (f *FreeSWITCH) settled(ctx context.Context, aor string, want []location.Binding, all bool) ([]location.Binding, error) {
	deadline := time.Now().Add(f.options.Settle)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		write, remove, err := f.missing(ctx, aor, want)
		if err != nil || (len(remove) == 0 && (len(write) == 0 || !all)) {
			return write, err
		}
		if time.Now().After(deadline) {
			return write, fmt.Errorf("write: after %v %d bindings are still missing and %d too much (multiple-registrations?)", f.options.Settle, len(write), len(remove))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return write, ctx.Err()
		}
	}
}

// inject sends the event multicast::event that sofia.c's event_handler reads.
func (f *FreeSWITCH) inject(ctx context.Context, aor, subclass string, b *location.Binding) error {
	user, host, _ := strings.Cut(aor, "@")
	lines := []string{
		"sendevent CUSTOM",
		"Event-Subclass: multicast::event",
		"orig-event-name: CUSTOM",
		"orig-event-subclass: " + subclass,
		"orig-profile-name: " + f.options.Profile,
		"orig-from-user: " + user,
		"orig-from-host: " + host,
		"orig-contact: " + toFreeSWITCH(b),
		"orig-call-id: " + b.CallID,
	}
	if subclass == "sofia::register" {
		agent := b.UserAgent
		if agent == "" {
			agent = "unknown" // as a REGISTER without one
		}
		ip, port := networkAddress(b)
		lines = append(lines,
			"orig-to-user: "+user,
			"orig-to-host: "+host,
			"orig-expires: "+strconv.Itoa(remaining(b, f.options.Now())),
			"orig-user-agent: "+agent,
			"orig-rpid: unknown",
			"orig-presence-hosts: "+host,
			"orig-network-ip: "+ip,
			"orig-network-port: "+port,
			"orig-username: "+user,
			"orig-realm: "+host,
		)
	}
	err := f.socket.do(ctx, func(c *eslConnection) error {
		_, err := c.command(lines...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Watch follows the events of registrations. Those that were injected raise none.
func (f *FreeSWITCH) Watch(ctx context.Context, hint func(Hint)) error {
	connect := func(ctx context.Context) (*eslConnection, error) {
		c, err := dialESL(ctx, &f.options)
		if err != nil {
			return nil, err
		}
		_ = c.conn.SetDeadline(time.Now().Add(f.options.Limit))
		if _, err := c.command("event plain CUSTOM sofia::register sofia::unregister sofia::expire"); err != nil {
			c.conn.Close()
			return nil, err
		}
		return c, c.conn.SetDeadline(time.Time{})
	}
	return stay(ctx, f.options.Logger, connect, func(ctx context.Context, c *eslConnection) error {
		defer c.conn.Close()
		defer context.AfterFunc(ctx, func() { c.conn.Close() })()
		for {
			p, err := parseESL(c.reader)
			if err != nil {
				return err
			}
			if p.get("Content-Type") == "text/disconnect-notice" {
				return fmt.Errorf("%w: it says goodbye", errESL)
			}
			if m, ok := p.event(); ok {
				if h, ok := registrationHint(m, f.options.Profile); ok {
					hint(h)
				}
			}
		}
	})
}

// registrationHint reads the events of sofia_reg.c: register and unregister call the user from-user, expire calls him user.
func registrationHint(m amiMessage, profile string) (Hint, bool) {
	user, host := "from-user", "from-host"
	switch m.get("Event-Subclass") {
	case "sofia::register", "sofia::unregister":
	case "sofia::expire":
		user, host = "user", "host"
	default:
		return Hint{}, false
	}
	h := Hint{AOR: m.get(user) + "@" + m.get(host), CallID: m.get("call-id")}
	return h, m.get("profile-name") == profile && len(h.AOR) <= aorLimit && !strings.HasPrefix(h.AOR, "@") && !strings.HasSuffix(h.AOR, "@") && plain(h.AOR)
}

// Generation is what FreeSWITCH calls itself anew at each start.
func (f *FreeSWITCH) Generation(ctx context.Context) (string, error) {
	text, err := f.api(ctx, "global_getvar core_uuid")
	if err != nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" || len(text) > 64 {
		return "", fmt.Errorf("core_uuid: %w", errESL)
	}
	return text, nil
}

// Count is what the profile says of itself.
func (f *FreeSWITCH) Count(ctx context.Context) (int, error) {
	text, err := f.api(ctx, "sofia xmlstatus profile "+f.options.Profile)
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(text, "\n") {
		if v, ok := element(strings.TrimSpace(line), "registrations"); ok {
			n, err := strconv.ParseInt(v, 10, 40)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("count: %w: %s", errESL, printable(text))
}
