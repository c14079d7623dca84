package registrar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// AsteriskOptions say how to talk to an Asterisk on this host, with chan_pjsip and res_pjsip_registrar.
type AsteriskOptions struct {
	Manager  string // its manager interface: "127.0.0.1:5038"
	Username string // of manager.conf, with read=system,reporting and write=system,reporting
	Secret   string

	REST         string // its REST interface: "http://127.0.0.1:8088/ari"; empty: nothing can be written
	RESTUsername string // of ari.conf
	RESTPassword string

	// List asks for all contacts each time and picks those in question: for an Asterisk that keeps them elsewhere than in its own database
	// (sorcery.conf), or that is too old to be asked for a part of that (DBGetTree: 16.28, 18.14, 19.6).
	List bool

	Limit  time.Duration        // for one question
	Now    func() time.Duration // the clock of location.Binding.Expires
	Wall   func() time.Time     // the clock of the host: Asterisk keeps moments of expiry as such
	Logger *zap.Logger
}

// DefaultAsteriskOptions are options that lack the addresses and the credentials.
func DefaultAsteriskOptions() AsteriskOptions {
	return AsteriskOptions{Manager: "127.0.0.1:5038", REST: "http://127.0.0.1:8088/ari", Limit: 5 * time.Second, Wall: time.Now, Logger: zap.NewNop()}
}

func (o *AsteriskOptions) validate() error {
	var errs []error
	if _, err := netip.ParseAddrPort(o.Manager); err != nil {
		errs = append(errs, fmt.Errorf("manager interface: %w", err))
	}
	if u, err := url.Parse(o.REST); err != nil || (o.REST != "" && (u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"))) {
		errs = append(errs, fmt.Errorf("REST interface: %q is no http address", o.REST))
	}
	if !plain(o.Username + o.Secret) {
		errs = append(errs, errors.New("the credentials have more than one line"))
	}
	if o.Limit <= 0 {
		errs = append(errs, errors.New("no time limit"))
	}
	if o.Now == nil || o.Wall == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// Asterisk is an Asterisk with chan_pjsip. An address of record is what pjsip.conf calls the aor: it has no domain.
//
// It keeps neither CSeq nor instance, q or socket. A Contact that it has rewritten to where the REGISTER came from (rewrite_contact) is told as
// Contact and Received, as the phone and the wire have it.
type Asterisk struct {
	options AsteriskOptions
	manager *session[*amiConnection]
	client  *http.Client
}

var _ Server = (*Asterisk)(nil)

// NewAsterisk makes the adapter.
func NewAsterisk(o AsteriskOptions) (*Asterisk, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("asterisk: %w", err)
	}
	a := &Asterisk{options: o, client: &http.Client{
		Timeout:       o.Limit,
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 8, MaxConnsPerHost: 8, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	a.manager = &session[*amiConnection]{
		turn: make(chan struct{}, 1),
		dial: func(ctx context.Context) (*amiConnection, error) { return dialAMI(ctx, &a.options, "off") },
		close: func(c *amiConnection) {
			c.conn.Close()
		},
		guard: func(ctx context.Context, c *amiConnection) func() bool {
			_ = c.conn.SetDeadline(time.Now().Add(a.options.Limit))
			return context.AfterFunc(ctx, func() { c.conn.Close() })
		},
		fatal: func(err error) bool { var no *amiError; return !errors.As(err, &no) },
	}
	return a, nil
}

// Close closes the connections.
func (a *Asterisk) Close() error {
	a.manager.end()
	a.client.CloseIdleConnections()
	return nil
}

// asteriskContact is a contact as Asterisk keeps it (res/res_pjsip/location.c: the fields of "contact").
type asteriskContact struct {
	id        string // "1001;@" and the MD5 of the URI
	URI       string `json:"uri"`
	Expires   string `json:"expiration_time"` // seconds of the epoch
	Path      string `json:"path"`
	UserAgent string `json:"user_agent"`
	CallID    string `json:"call_id"`
}

// contactFamily is where Asterisk's own database has the contacts: the prefix that res_pjsip.c gives to the astdb wizard, and the type.
const contactFamily = "registrar/contact"

// Lookup asks for the contacts of an aor. The static ones of the configuration are not told: both servers have them.
func (a *Asterisk) Lookup(ctx context.Context, aor string) ([]location.Binding, error) {
	contacts, err := a.contacts(ctx, aor)
	if err != nil {
		return nil, err
	}
	var bindings []location.Binding
	for i := range contacts {
		if b, ok := a.binding(&contacts[i]); ok {
			bindings = append(bindings, b)
		}
	}
	return bindings, nil
}

func (a *Asterisk) contacts(ctx context.Context, aor string) ([]asteriskContact, error) {
	if a.options.List {
		return a.listed(ctx, aor)
	}
	prefix := aor + ";@"
	var found []asteriskContact
	err := a.manager.do(ctx, func(c *amiConnection) error {
		found = nil
		// main/db.c compares by LIKE, so that a percent sign stands for the rest of the key; what else it matches is sorted out here.
		action := amiMessage{{"Action", "DBGetTree"}, {"Family", contactFamily}, {"Key", prefix + "%"}}
		return c.list(action, func(m amiMessage) {
			id, ok := strings.CutPrefix(m.get("Key"), "/"+contactFamily+"/")
			contact := asteriskContact{id: id}
			if ok && strings.HasPrefix(id, prefix) && json.Unmarshal([]byte(m.get("Val")), &contact) == nil {
				found = append(found, contact)
			}
		})
	})
	return found, err
}

// listed picks the contacts out of the list of all (res/res_pjsip/pjsip_options.c: ami_show_contacts).
func (a *Asterisk) listed(ctx context.Context, aor string) ([]asteriskContact, error) {
	prefix := aor + ";@"
	var found []asteriskContact
	err := a.manager.do(ctx, func(c *amiConnection) error {
		found = nil
		err := c.list(amiMessage{{"Action", "PJSIPShowContacts"}}, func(m amiMessage) {
			if id := m.get("ObjectName"); m.get("Event") == "ContactList" && strings.HasPrefix(id, prefix) {
				found = append(found, asteriskContact{
					id: id, URI: m.get("Uri"), Expires: m.get("ExpirationTime"), Path: m.get("Path"), UserAgent: m.get("UserAgent"), CallID: m.get("CallId"),
				})
			}
		})
		var no *amiError
		if errors.As(err, &no) && strings.HasPrefix(no.message, "No Contacts found") {
			return nil
		}
		return err
	})
	return found, err
}

func (a *Asterisk) binding(c *asteriskContact) (location.Binding, bool) {
	seconds, err := strconv.ParseInt(c.Expires, 10, 64)
	if err != nil || c.URI == "" {
		return location.Binding{}, false
	}
	left := time.Unix(seconds, 0).Sub(a.options.Wall())
	if left <= 0 {
		return location.Binding{}, false
	}
	contact, received := fromAsterisk(c.URI)
	return location.Binding{
		Contact: contact, Received: received, Q: location.NoQ, CallID: c.CallID, UserAgent: c.UserAgent, Path: c.Path, Methods: location.AllMethods,
		Expires: a.options.Now() + left,
	}, true
}

func (a *Asterisk) same(have, want *location.Binding) bool {
	return have.Contact == asJSON(want.Contact) && have.Received == asJSON(want.Received) && have.CallID == asJSON(want.CallID) &&
		have.UserAgent == asJSON(want.UserAgent) && have.Path == asJSON(want.Path) && sameTime(have, want)
}

// Apply writes by the REST interface, which goes the same way as a REGISTER: what watches contacts inside of Asterisk hears of it.
func (a *Asterisk) Apply(ctx context.Context, aor string, want []location.Binding) error {
	if a.options.REST == "" {
		return errors.New("write: no REST interface")
	}
	contacts, err := a.contacts(ctx, aor)
	if err != nil {
		return err
	}
	have := make(map[string]location.Binding, len(contacts))
	for i := range contacts {
		b, _ := a.binding(&contacts[i])
		have[contacts[i].id] = b // one that has expired too: it is written anew or removed
	}
	var errs []error
	now := a.options.Now()
	for _, b := range unexpired(want, now) {
		uri := toAsterisk(&b)
		id := contactID(aor, uri)
		present, ok := have[id]
		delete(have, id)
		if !ok || !a.same(&present, canonical(&b)) {
			errs = append(errs, a.put(ctx, id, uri, &b, now))
		}
	}
	for id := range have {
		errs = append(errs, a.request(ctx, http.MethodDelete, id, nil))
	}
	return errors.Join(errs...)
}

func (a *Asterisk) put(ctx context.Context, id, uri string, b *location.Binding, now time.Duration) error {
	type field struct {
		Attribute string `json:"attribute"`
		Value     string `json:"value"`
	}
	prune := "no"
	if b.Connected() {
		prune = "yes" // it does not outlive the connection
	}
	expires := a.options.Wall().Add(b.Expires - now).Round(time.Second).Unix()
	body, err := json.Marshal(map[string][]field{"fields": {
		{"uri", uri}, {"expiration_time", strconv.FormatInt(expires, 10)}, {"path", b.Path}, {"user_agent", b.UserAgent},
		{"call_id", b.CallID}, {"prune_on_boot", prune},
	}})
	if err != nil {
		return err
	}
	return a.request(ctx, http.MethodPut, id, body)
}

// restLimit is the longest body that Asterisk takes (main/http.c: MAX_CONTENT_LENGTH).
const restLimit = 40960

func (a *Asterisk) request(ctx context.Context, method, id string, body []byte) error {
	if len(body) > restLimit {
		return fmt.Errorf("write: %d octets are more than Asterisk takes", len(body))
	}
	address := strings.TrimSuffix(a.options.REST, "/") + "/asterisk/config/dynamic/res_pjsip/contact/" + segment(id)
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return errors.New("write: the REST interface has no valid address")
	}
	r.SetBasicAuth(a.options.RESTUsername, a.options.RESTPassword)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := a.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which names the contact
		}
		return fmt.Errorf("write by REST: %w", err)
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, restLimit))
	response.Body.Close()
	if response.StatusCode/100 == 2 || (method == http.MethodDelete && gone(response.StatusCode, text)) {
		return nil
	}
	return fmt.Errorf("write by REST: answered %s", printable(response.Status))
}

// gone reports whether it is the object that was not found, rather than res_pjsip (res/ari/resource_asterisk.c).
func gone(code int, text []byte) bool {
	return code == http.StatusNotFound && bytes.Contains(text, []byte("Object with id"))
}

// segment escapes all that a path could mean by itself: Asterisk even takes a plus sign for a space.
func segment(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// Watch follows the events of contacts. A refresh is one of them only with send_contact_status_on_update_registration in pjsip.conf.
func (a *Asterisk) Watch(ctx context.Context, hint func(Hint)) error {
	connect := func(ctx context.Context) (*amiConnection, error) { return dialAMI(ctx, &a.options, "system") }
	return stay(ctx, a.options.Logger, connect, func(ctx context.Context, c *amiConnection) error {
		defer c.conn.Close()
		defer context.AfterFunc(ctx, func() { c.conn.Close() })()
		for {
			m, err := parseAMI(c.reader)
			if err != nil {
				return err
			}
			if h, ok := contactHint(m); ok {
				hint(h)
			}
		}
	})
}

// contactHint reads the event ContactStatus (main/stasis_endpoints.c). A phone that no longer answers OPTIONS is registered all the same.
func contactHint(m amiMessage) (Hint, bool) {
	aor := m.get("AOR")
	if m.get("Event") != "ContactStatus" || aor == "" || len(aor) > aorLimit || !plain(aor) {
		return Hint{}, false
	}
	return Hint{AOR: aor}, m.get("ContactStatus") != "Unreachable"
}

// Generation is the moment of its start.
func (a *Asterisk) Generation(ctx context.Context) (string, error) {
	var generation string
	err := a.manager.do(ctx, func(c *amiConnection) error {
		m, err := c.ask(amiMessage{{"Action", "CoreStatus"}})
		if err != nil {
			return err
		}
		date, clock := m.get("CoreStartupDate"), m.get("CoreStartupTime")
		if date == "" || clock == "" {
			return errAMI
		}
		generation = date + " " + clock
		return nil
	})
	return generation, err
}

// Count can't be had without asking for all contacts.
func (a *Asterisk) Count(context.Context) (int, error) { return 0, ErrCannotAsk }
