package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// KamailioOptions say how to talk to a Kamailio on this host. Its configuration includes contrib/etc/kamailio-understudy.cfg: without
// it registrations can be read, but neither be written nor be told of.
type KamailioOptions struct {
	RPC    string         // datagram socket of jsonrpcs: an absolute path, or "udp:127.0.0.1:8090"
	Replay netip.AddrPort // the listener that trusts whoever reaches it (UNDERSTUDY_REPLAY_LISTEN)
	Push   netip.AddrPort // where changes are told to us (UNDERSTUDY_PUSH_TO)
	Table  string         // of usrloc

	// Sockets says which socket of this server takes the place of one of the other member: "udp:10.0.0.1:5060" is "udp:10.0.0.2:5060" here.
	// One that both have, as that of the service address, needs no entry. Of any other the binding gets the first socket with the same
	// transport and kind of address.
	Sockets map[string]string
	// MinExpires is min_expires of registrar: the server lengthens what is shorter, also that which is nearly over.
	MinExpires time.Duration

	Limit  time.Duration        // for one question or one REGISTER
	Now    func() time.Duration // the clock of location.Binding.Expires
	Logger *zap.Logger
}

// DefaultKamailioOptions are options that lack the clock.
func DefaultKamailioOptions() KamailioOptions {
	return KamailioOptions{
		RPC: "/run/kamailio/kamailio_rpc.sock", Replay: netip.MustParseAddrPort("127.0.0.1:5062"), Push: netip.MustParseAddrPort("127.0.0.1:5098"),
		Table: "location", MinExpires: time.Minute, Limit: 5 * time.Second, Logger: zap.NewNop(),
	}
}

func (o *KamailioOptions) validate() error {
	var errs []error
	if !o.Replay.Addr().Is4() || !o.Replay.Addr().IsLoopback() || o.Replay.Port() == 0 {
		errs = append(errs, fmt.Errorf("replay to %s: only a listener on IPv4's loopback can trust everybody", o.Replay))
	}
	if !o.Push.Addr().IsLoopback() || o.Push.Port() == 0 {
		errs = append(errs, fmt.Errorf("push to %s: only this host may tell us", o.Push))
	}
	if o.Table == "" {
		errs = append(errs, errors.New("no table"))
	}
	for from, to := range o.Sockets {
		if !plain(to) || strings.Count(to, ":") < 2 {
			errs = append(errs, fmt.Errorf("socket %q for %q: want transport:address:port", to, from))
		}
	}
	if o.Limit <= 0 || o.MinExpires < 0 {
		errs = append(errs, errors.New("no time limit, or a negative shortest expiry"))
	}
	if o.Now == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// replayWindow is how many REGISTERs may be under way: more make Kamailio no faster.
const replayWindow = 64

// Kamailio is a Kamailio with usrloc and registrar.
type Kamailio struct {
	options  KamailioOptions
	rpc      *kamailioRPC
	register *registerClient
	log      *zap.Logger

	malformed     atomic.Uint64
	caseSensitive atomic.Bool // as the last push said

	mu        sync.Mutex
	domains   *bool         // whether an address of record has a domain here; nil: not asked yet
	sockets   []string      // that the server listens at
	socketsAt time.Duration // when it was asked for them
	translate map[string]string
}

var _ Server = (*Kamailio)(nil)

// NewKamailio checks the options.
func NewKamailio(o KamailioOptions) (*Kamailio, error) {
	err := o.validate()
	rpc, rpcErr := newKamailioRPC(o.RPC, o.Limit)
	if err = errors.Join(err, rpcErr); err != nil {
		return nil, fmt.Errorf("kamailio: %w", err)
	}
	k := &Kamailio{
		options: o, rpc: rpc, log: o.Logger.Named("kamailio"), translate: map[string]string{},
		register: newRegisterClient(registerOptions{Server: o.Replay, T1: 500 * time.Millisecond, Limit: o.Limit, Window: replayWindow}),
	}
	for from, to := range maps.All(o.Sockets) {
		k.translate[strings.ToLower(from)] = strings.ToLower(to)
	}
	return k, nil
}

// Close closes the sockets that are kept for the next question.
func (k *Kamailio) Close() error { return errors.Join(k.rpc.Close(), k.register.Close()) }

// What usrloc's commands say of an address of record that is not registered (modules/usrloc/ul_rpc.c).
const (
	kamailioNotFound   = "AOR not found"
	kamailioNoContacts = "AOR has no contacts"
	kamailioNoDomain   = "Domain missing in AOR"
)

// errTooLong reports an answer that the server could not send: a datagram has room for about a hundred bindings.
var errTooLong = errors.New("the server answers other questions, but not this one: the answer may be longer than a datagram")

// Lookup asks for the bindings of an address of record.
func (k *Kamailio) Lookup(ctx context.Context, aor string) ([]location.Binding, error) {
	if err := checkText("address of record", aor); err != nil || aor == "" {
		return nil, errors.Join(errors.New("look up: no address of record"), err)
	}
	var found kamailioRecord
	err := k.rpc.call(ctx, &found, "ul.lookup", k.options.Table, aor)
	var no *rpcError
	switch {
	case errors.As(err, &no) && (strings.HasPrefix(no.Message, kamailioNotFound) || strings.HasPrefix(no.Message, kamailioNoContacts)):
		return nil, nil
	case errors.As(err, &no) && strings.HasPrefix(no.Message, kamailioNoDomain):
		k.mu.Lock()
		k.domains = nil // it may have been configured otherwise when we asked
		k.mu.Unlock()
	case errors.Is(err, errNoReply) && ctx.Err() == nil:
		if _, alive := k.Generation(ctx); alive == nil {
			err = errTooLong
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	return found.bindings(k.options.Now()), nil
}

// Generation is when the server started, and its first process.
func (k *Kamailio) Generation(ctx context.Context) (string, error) {
	var uptime struct {
		Since string `json:"up_since"`
	}
	if err := k.rpc.call(ctx, &uptime, "core.uptime"); err != nil {
		return "", fmt.Errorf("generation: %w", err)
	}
	var processes []struct{ PID int }
	if err := k.rpc.call(ctx, &processes, "core.psx"); err != nil {
		return "", fmt.Errorf("generation: %w", err)
	}
	if uptime.Since == "" || len(processes) == 0 {
		return "", errors.New("generation: the server tells neither its start nor its processes")
	}
	return uptime.Since + " " + strconv.Itoa(processes[0].PID), nil
}

// Count is how many bindings the table has, also those that have expired within the last minute.
func (k *Kamailio) Count(ctx context.Context) (int, error) {
	var statistics map[string]json.Number
	name := k.options.Table + "_contacts"
	if err := k.rpc.call(ctx, &statistics, "stats.fetch", name); err != nil { // of kex
		return 0, fmt.Errorf("count: %w", err)
	}
	n, err := strconv.Atoi(statistics["usrloc."+name].String())
	if err != nil {
		return 0, fmt.Errorf("count: the server has no statistic %s", name)
	}
	return n, nil
}

// Name is what the server calls an address of record: without its domain if it does not look at domains, in small letters if not at case either.
func (k *Kamailio) Name(ctx context.Context, aor string) (string, error) {
	if !strings.Contains(aor, "@") {
		return aor, nil
	}
	domains, err := k.hasDomains(ctx)
	if err != nil {
		return "", err
	}
	return (&kamailioPush{aor: aor, caseSensitive: k.caseSensitive.Load()}).key(domains), nil
}

// hasDomains reports whether an address of record has a domain here (use_domain of usrloc). It asks for one that has none.
func (k *Kamailio) hasDomains(ctx context.Context) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.domains != nil {
		return *k.domains, nil
	}
	err := k.rpc.call(ctx, nil, "ul.lookup", k.options.Table, "understudy")
	var no *rpcError
	if err != nil && !errors.As(err, &no) {
		return false, err
	}
	yes := no != nil && strings.HasPrefix(no.Message, kamailioNoDomain)
	if no != nil && !yes && !strings.HasPrefix(no.Message, kamailioNotFound) && !strings.HasPrefix(no.Message, kamailioNoContacts) {
		return false, err
	}
	k.domains = &yes
	return yes, nil
}
