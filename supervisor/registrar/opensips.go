package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// OpenSIPSOptions say how to talk to an OpenSIPS on this host, from version 3.0 on.
type OpenSIPSOptions struct {
	MI string // of mi_datagram: "unix:/run/opensips/mi.sock" or "udp:127.0.0.1:8080"
	// Events is where event_datagram sends to us; empty: no push. "udp:127.0.0.1:5098", IPv4 only. "unix:/run/..." loses events when more than
	// ten come at once: OpenSIPS does not wait for room (net.unix.max_dgram_qlen).
	Events string
	Table  string // of usrloc
	Domain string // of a replayed REGISTER, where addresses of record have none (usrloc: use_domain 0)

	// Register is the listener that trusts whoever reaches it. What a REGISTER can't say by itself is in headers that its route reads: see
	// HeaderReceived, HeaderFlags and HeaderSocket. Without a valid one nothing can be written.
	Register netip.AddrPort
	Sockets  map[string]string // the other member's sockets and what they are here; one that is missing is not told
	Flags    []string          // branch flags by the bit that they have in a Binding: OpenSIPS itself tells names only

	Limit  time.Duration        // for one question
	Now    func() time.Duration // the clock of location.Binding.Expires
	Logger *zap.Logger
}

// What a replayed REGISTER says in headers of its own. The route strips them from whatever comes from elsewhere.
const (
	HeaderReceived = "X-Understudy-Received" // for registrar's received_avp
	HeaderFlags    = "X-Understudy-Flags"    // names of branch flags, for setbflag, with spaces between them
	HeaderSocket   = "X-Understudy-Socket"   // for registrar's sock_hdr_name
)

// DefaultOpenSIPSOptions are options that lack the addresses.
func DefaultOpenSIPSOptions() OpenSIPSOptions {
	return OpenSIPSOptions{Table: "location", Flags: []string{"NAT"}, Limit: 5 * time.Second, Logger: zap.NewNop()}
}

func (o *OpenSIPSOptions) validate() error {
	var errs []error
	if o.Events != "" {
		network, name, err := datagramAddress(o.Events)
		if err != nil {
			errs = append(errs, err)
		} else if at, err := netip.ParseAddrPort(name); network == "udp" && (err != nil || !at.Addr().Is4() || !at.Addr().IsLoopback()) {
			errs = append(errs, fmt.Errorf("events at %s: OpenSIPS sends them to IPv4 only, and nobody else may: give a loopback address", o.Events))
		}
	}
	if o.Table == "" {
		errs = append(errs, errors.New("no table"))
	}
	if len(o.Flags) > 32 {
		errs = append(errs, errors.New("more than 32 flags"))
	}
	if o.Limit <= 0 {
		errs = append(errs, errors.New("no time limit"))
	}
	if o.Now == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// OpenSIPS is an OpenSIPS with usrloc and registrar. For what is replayed its configuration needs a listener on the loopback interface:
//
//	socket=udp:127.0.0.1:5062
//	modparam("registrar", "received_avp", "$avp(rcv)")
//	modparam("registrar", "sock_hdr_name", "X-Understudy-Socket")
//	...
//	if (is_method("REGISTER") && $socket_in(port) == 5062) { # before authentication and tests for NAT
//		if ($hdr(X-Understudy-Received) != NULL) $avp(rcv) = $hdr(X-Understudy-Received);
//		if ($hdr(X-Understudy-Flags) =~ "NAT") setbflag("NAT");
//		save("location", "path-lazy, socket-header");
//		exit;
//	}
type OpenSIPS struct {
	options  OpenSIPSOptions
	mi       *miClient
	register *registerClient
	renewal  time.Duration // of subscriptions
}

var _ Server = (*OpenSIPS)(nil)

// NewOpenSIPS makes the adapter.
func NewOpenSIPS(o OpenSIPSOptions) (*OpenSIPS, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("opensips: %w", err)
	}
	mi, err := newMIClient(o.MI, o.Limit)
	if err != nil {
		return nil, fmt.Errorf("opensips: management interface: %w", err)
	}
	client := newRegisterClient(registerOptions{Server: o.Register, T1: 500 * time.Millisecond, Limit: o.Limit, Window: 64})
	return &OpenSIPS{options: o, mi: mi, register: client, renewal: renewal}, nil
}

// Close closes the sockets.
func (o *OpenSIPS) Close() error { return errors.Join(o.mi.Close(), o.register.Close()) }

// openSIPSContact is a Contact as modules/usrloc/ul_mi.c tells it (mi_add_aor_node).
type openSIPSContact struct {
	Contact   string          `json:"Contact"`
	Expires   json.RawMessage `json:"Expires"` // seconds left, or "permanent", "deleted", "expired"
	Q         string          `json:"Q"`       // empty: none
	CallID    string          `json:"Callid"`
	CSeq      float64         `json:"Cseq"`
	UserAgent string          `json:"User-agent"`
	Received  string          `json:"Received"`
	Path      string          `json:"Path"`
	Flags     float64         `json:"Flags"`
	Cflags    string          `json:"Cflags"` // names of branch flags
	Socket    string          `json:"Socket"`
	Methods   *float64        `json:"Methods"`
	Instance  string          `json:"SIP_instance"`
}

// Lookup asks for the Contacts of an address of record. Those that an operator made for good are not told: they are in the
// configuration of both servers.
func (o *OpenSIPS) Lookup(ctx context.Context, aor string) ([]location.Binding, error) {
	var result struct {
		Contacts []openSIPSContact `json:"Contacts"`
	}
	params := map[string]any{"table_name": o.options.Table, "aor": aor}
	err := o.mi.call(ctx, miMethod{"usrloc:show_contact", "ul_show_contact"}, params, &result)
	var no *miError
	if errors.As(err, &no) && no.Code == miNotFound && strings.HasPrefix(no.Message, "AOR") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now := o.options.Now()
	var bindings []location.Binding
	for i := range result.Contacts {
		if b, ok := o.binding(&result.Contacts[i], now); ok {
			bindings = append(bindings, b)
		}
	}
	return bindings, nil
}

func (o *OpenSIPS) binding(c *openSIPSContact, now time.Duration) (location.Binding, bool) {
	seconds, err := strconv.ParseUint(string(c.Expires), 10, 31)
	if err != nil || seconds == 0 || c.Contact == "" {
		return location.Binding{}, false
	}
	b := location.Binding{
		Contact: c.Contact, Q: parseQ(c.Q), CallID: c.CallID, CSeq: uint32(int64(c.CSeq)), UserAgent: c.UserAgent, Received: c.Received, Path: c.Path,
		Socket: c.Socket, Instance: c.Instance, Flags: uint32(int64(c.Flags)), Branch: o.flagBits(c.Cflags), Methods: location.AllMethods,
		Expires: now + time.Duration(seconds)*time.Second,
	}
	if b.UserAgent == "n/a" { // lib/reg/ci.c: of a phone that does not say
		b.UserAgent = ""
	}
	if c.Methods != nil && uint32(int64(*c.Methods))&namedMethods != namedMethods {
		b.Methods = uint32(int64(*c.Methods)) & namedMethods
	}
	return b, true
}

// parseQ reads a q value as thousandths; NoQ if there is none.
func parseQ(s string) int {
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return location.NoQ
	}
	return int(q*1000 + 0.5)
}

func (o *OpenSIPS) flagBits(names string) uint32 {
	var bits uint32
	for _, name := range strings.Fields(names) {
		for bit, known := range o.options.Flags {
			if name == known {
				bits |= 1 << bit
			}
		}
	}
	return bits
}

func (o *OpenSIPS) flagNames(bits uint32) string {
	var names []string
	for bit, name := range o.options.Flags {
		if bits&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// same reports whether there is nothing to write. A REGISTER that does not come after the one that made the binding can't change when it
// ends (modules/usrloc/urecord.c: get_ucontact), and one that came before it must not.
func (o *OpenSIPS) same(have, want *location.Binding) bool {
	if have.CallID == asJSON(want.CallID) && have.CSeq >= want.CSeq {
		return have.CSeq > want.CSeq || o.sameShape(have, want)
	}
	return o.sameShape(have, want) && have.CallID == asJSON(want.CallID) && have.CSeq == want.CSeq && sameTime(have, want)
}

// sameShape leaves out flags and reg-id, which OpenSIPS does not keep, and the socket, which may have to be another one here.
func (o *OpenSIPS) sameShape(have, want *location.Binding) bool {
	return have.Q == want.Q && have.UserAgent == asJSON(want.UserAgent) && have.Received == asJSON(want.Received) && have.Path == asJSON(want.Path) &&
		have.Instance == asJSON(want.Instance) && o.flagNames(have.Branch) == o.flagNames(want.Branch) && have.Methods&namedMethods == want.Methods&namedMethods
}

// asJSON is s as it comes back from a server that speaks JSON: octets that are no UTF-8 are lost on the way.
func asJSON(s string) string { return string([]rune(s)) }

// openSIPSKey tells bindings apart as usrloc does by itself (CT_MATCH_CONTACT_ONLY): by the Contact, whatever the instance.
func openSIPSKey(b *location.Binding) string { return asJSON(b.Contact) }

// openSIPSMethods are the names of the bits of Methods (parser/msg_parser.h).
var openSIPSMethods = []string{
	"INVITE", "CANCEL", "ACK", "BYE", "INFO", "OPTIONS", "UPDATE", "REGISTER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PRACK", "REFER", "PUBLISH",
}

// namedMethods are the bits that have names.
const namedMethods = 1<<14 - 1

// Apply replays REGISTERs for what is missing or different, and removes what is too much by the management interface: ul_add knows neither
// Path nor Received, and would make up a Call-ID.
func (o *OpenSIPS) Apply(ctx context.Context, aor string, want []location.Binding) error {
	have, err := o.Lookup(ctx, aor)
	if err != nil {
		return err
	}
	write, remove := difference(have, unexpired(want, o.options.Now()), openSIPSKey, o.same)
	for i := range have { // the same REGISTER would be refused, or change nothing
		if slices.ContainsFunc(write, func(b location.Binding) bool {
			return openSIPSKey(&b) == have[i].Contact && asJSON(b.CallID) == have[i].CallID && b.CSeq == have[i].CSeq
		}) {
			remove = append(remove, have[i])
		}
	}
	var errs []error
	for i := range remove {
		params := map[string]any{"table_name": o.options.Table, "aor": aor, "contact": remove[i].Contact}
		err := o.mi.call(ctx, miMethod{"usrloc:rm_contact", "ul_rm_contact"}, params, nil)
		var no *miError
		if err != nil && (!errors.As(err, &no) || no.Code != miNotFound) {
			errs = append(errs, err)
		}
	}
	for i := range write {
		errs = append(errs, o.replay(ctx, aor, &write[i]))
	}
	return errors.Join(errs...)
}

func (o *OpenSIPS) replay(ctx context.Context, aor string, b *location.Binding) error {
	if !o.options.Register.IsValid() {
		return errors.New("register: no listener that takes it")
	}
	if !strings.Contains(aor, "@") {
		aor += "@" + o.options.Domain
	}
	socket := b.Socket
	if o.options.Sockets != nil {
		socket = o.options.Sockets[b.Socket]
	}
	answer, err := o.register.do(ctx, registration{
		aor: aor, binding: *b, seconds: remaining(b, o.options.Now()), methods: openSIPSMethods,
		headers: [][2]string{{HeaderReceived, b.Received}, {HeaderFlags, o.flagNames(b.Branch)}, {HeaderSocket, socket}},
	})
	if err != nil {
		return err
	}
	if err := answer.err(); err != nil {
		return fmt.Errorf("register at %s: %w", o.options.Register, err)
	}
	return nil
}

// Generation is the moment of its start.
func (o *OpenSIPS) Generation(ctx context.Context) (string, error) {
	var result struct {
		Since string `json:"Up since"`
	}
	if err := o.mi.call(ctx, miMethod{"core:uptime", "uptime"}, nil, &result); err != nil {
		return "", err
	}
	if result.Since == "" {
		return "", fmt.Errorf("uptime: %w", errMI)
	}
	return result.Since, nil
}

// Count is a statistic of usrloc.
func (o *OpenSIPS) Count(ctx context.Context) (int, error) {
	name := o.options.Table + "-contacts" // asked for by its bare name, told with that of its module (statistics.c: get_stat, mi_print_stat)
	var result map[string]float64
	params := map[string]any{"statistics": []string{name}}
	if err := o.mi.call(ctx, miMethod{"statistics:get", "get_statistics"}, params, &result); err != nil {
		return 0, err
	}
	n, ok := result["usrloc:"+name]
	if !ok || n < 0 || n > 1<<40 {
		return 0, fmt.Errorf("statistic %s: %w", name, errMI)
	}
	return int(n), nil
}
