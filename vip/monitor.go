package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Effector is what a Monitor has the addresses put right by: VIP, or Script.
type Effector interface {
	Repair()    // look, and put right what is not as it shall be; never blocks
	Busy() bool // something that was begun has not ended yet
}

var (
	_ Effector = (*VIP)(nil)
	_ Effector = (*Script)(nil)
)

// MonitorOptions configures a Monitor. Start from DefaultMonitorOptions.
type MonitorOptions struct {
	Addresses []netip.Prefix
	Interface string
	Peers     []netip.Addr  // addresses of the other members on this network: their MACs are learnt from the kernel
	Grace     time.Duration // after a change of the role, and after a repair, in which a mismatch is not judged
	Poll      time.Duration // looks at least this often, should an event have been missed
	Effector  Effector
	Clock     func() time.Duration // the raw monotonic clock in which Hold.Until is expressed
	Report    func(Finding)        // called from one goroutine of Run; must not block
	Logger    *zap.Logger
}

// DefaultMonitorOptions gives the options that have a default; Addresses, Interface, Effector and Clock have none.
func DefaultMonitorOptions() MonitorOptions {
	return MonitorOptions{
		Grace:  time.Second,
		Poll:   5 * time.Second,
		Report: func(Finding) {},
		Logger: zap.NewNop(),
	}
}

func (o MonitorOptions) validate() error {
	errs := []error{validateAddresses(o.Addresses), validateLink(o.Interface)}
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range o.Peers {
		if !a.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
			add("peer address %v can't be one", a)
		}
	}
	if o.Grace < 10*time.Millisecond || o.Grace > time.Minute {
		add("grace of %v is not between 10ms and a minute", o.Grace)
	}
	if o.Poll < 100*time.Millisecond {
		add("poll of %v is shorter than 100ms", o.Poll)
	}
	if o.Effector == nil || o.Clock == nil || o.Report == nil || o.Logger == nil {
		add("effector, clock, report and logger must be given")
	}
	return errors.Join(errs...)
}

// Monitor sees to it that the addresses are on the primary's host and not on the backup's (SIP Server's sip-iptakeover-monitoring), that
// no other host claims them, and that the other nodes know where they are.
//
// It learns of a change by the kernel's events, in microseconds, and looks by itself every Poll. What is not as wanted is told as
// missing or unexpected, once, and repaired at once; what still isn't as wanted a grace after that is persistent.
//
// It hears claims of other hosts by ARP (RFC 5227) and neighbour discovery. While this node holds the addresses, each is answered by an
// announcement, at most ten in ten seconds for each address. It sends nothing while it doesn't hold them.
//
// Where packet sockets are not permitted, it sees to the addresses on this host only.
type Monitor struct {
	o    MonitorOptions
	wish wish
	post post
}

// NewMonitor checks the options. It touches nothing.
func NewMonitor(o MonitorOptions) (*Monitor, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("monitor of the service address: %w", err)
	}
	o.Logger = o.Logger.Named("vip")
	return &Monitor{o: o, wish: wish{clock: o.Clock}, post: newPost()}, nil
}

// Set tells what the role wants. It never blocks and is to be called right before the effector's Set, with the same Hold: so that
// what the effector does is never taken for somebody else's doing.
func (m *Monitor) Set(h supervisor.Hold) {
	if m.wish.set(h) {
		m.post.knock()
	}
}

// Heard passes the view of another node on. It never blocks. While this node holds the address, a node with another MAC for it is told
// again: at once, and twice more within three seconds.
func (m *Monitor) Heard(v View) { m.post.add(letter{view: &v}) }

// Learn tells of a MAC of another member of the pair, for example from its report. It never blocks.
func (m *Monitor) Learn(mac MAC) { m.post.add(letter{member: mac}) }

// Reannounce tells the neighbour at that MAC, and everybody, again where the addresses are, if this node holds them. to is the
// neighbour's address, if it is known. It never blocks.
func (m *Monitor) Reannounce(to netip.Addr, mac MAC) {
	m.post.add(letter{to: to, mac: mac, announce: true})
}
