package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// FenceMode says which fence to use.
type FenceMode string

// The fence modes.
const (
	FenceAuto     FenceMode = "auto"     // nftables where it works, else lifetime
	FenceNftables FenceMode = "nftables" // nftables, or CleanUp fails
	FenceLifetime FenceMode = "lifetime" // only the finite lifetime of the addresses
	FenceNone     FenceMode = "none"     // neither: only this process drops the address
)

// Announce says when neighbours are told where the address is.
type Announce struct {
	Schedule []time.Duration // after taking the address, counted from that moment; ascending
	Refresh  time.Duration   // afterwards, for as long as the address is held; 0: never
}

// Options configures a VIP. Start from DefaultOptions.
type Options struct {
	Addresses []netip.Prefix // the group, which moves as one; IPv4 and IPv6, without zones
	Interface string         // where the addresses are added
	Cluster   string         // names the nftables tables, so that several pairs can share a host
	Fence     FenceMode
	Lease     time.Duration // usual length of a Hold: the gate's steps fit it. A longer Hold works, and costs a few wake-ups
	Announce  Announce
	Clock     func() time.Duration           // the raw monotonic clock in which Hold.Until is expressed
	Report    func(supervisor.AddressReport) // called from one goroutine of Run; must not block
	Logger    *zap.Logger
}

// DefaultOptions gives the options that have a default; Addresses, Interface, Cluster and Clock have none.
func DefaultOptions() Options {
	ms := time.Millisecond
	return Options{
		Fence: FenceAuto,
		Lease: 150 * ms,
		Announce: Announce{
			Schedule: []time.Duration{0, 100 * ms, 500 * ms, time.Second, 2 * time.Second, 5 * time.Second},
			Refresh:  time.Minute,
		},
		Report: func(supervisor.AddressReport) {},
		Logger: zap.NewNop(),
	}
}

// minLease is the shortest lease for which an nftables timeout of one jiffy (10 ms at worst) still fits.
const minLease = 20 * time.Millisecond

func (o Options) validate() error {
	errs := []error{validateGroup(o.Addresses, o.Interface, o.Cluster)}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch o.Fence {
	case FenceAuto, FenceNftables, FenceLifetime, FenceNone:
	default:
		add("unknown fence %q (one of auto, nftables, lifetime, none)", string(o.Fence))
	}
	if o.Lease < minLease || o.Lease > time.Minute {
		add("lease of %v is not between %v and a minute", o.Lease, minLease)
	}
	for i, d := range o.Announce.Schedule {
		if d < 0 || i > 0 && d <= o.Announce.Schedule[i-1] {
			add("announcement schedule %v does not ascend from 0", o.Announce.Schedule)
			break
		}
	}
	if o.Announce.Refresh < 0 || o.Announce.Refresh > 0 && o.Announce.Refresh < 100*time.Millisecond {
		add("announcement refresh of %v is shorter than 100ms", o.Announce.Refresh)
	}
	if o.Clock == nil || o.Report == nil || o.Logger == nil {
		add("clock, report and logger must be given")
	}
	return errors.Join(errs...)
}

// validateGroup checks what VIP and Script have in common.
func validateGroup(group []netip.Prefix, link, cluster string) error {
	errs := []error{validateAddresses(group), validateLink(link)}
	if cluster == "" {
		errs = append(errs, errors.New("cluster has no name"))
	}
	return errors.Join(errs...)
}

func validateAddresses(group []netip.Prefix) error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(group) == 0 {
		add("no service address")
	}
	seen := map[netip.Addr]bool{}
	for _, p := range group {
		a := p.Addr()
		switch {
		case !p.IsValid():
			add("service address %v is invalid", p)
		case a.Is4In6() || a.Zone() != "":
			add("service address %v must be plain IPv4 or IPv6 without zone", p)
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
			add("service address %v can't be one", p)
		case seen[a]:
			add("service address %v is given twice", a)
		}
		seen[a] = true
	}
	return errors.Join(errs...)
}

func validateLink(name string) error {
	if name == "" || len(name) > 15 {
		return fmt.Errorf("interface name %q must have 1 to 15 octets", name)
	}
	return nil
}
