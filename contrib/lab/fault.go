package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Expectation is what a fault should do to the role.
type Expectation string

// The expectations.
const (
	Moves  Expectation = "the role moves"
	Stays  Expectation = "the role stays"
	Either Expectation = "either" // the role may stay or move
)

// Fault is one way in which a pair breaks.
type Fault struct {
	Name   string
	Text   string // what breaks, for people
	Expect Expectation
	Hold   time.Duration // how long it has to last before it is healed, to show what it does
	Load   int           // requests a second that phones send meanwhile, with retransmissions; see Load
	Method string        // by which the client asks meanwhile; OPTIONS if empty
	Down   bool          // the service is away for as long as the fault lasts, whoever keeps it
	Twice  bool          // the fault itself makes a second holder; what counts is for how long
	Weigh  bool          // what it costs the sidecars in memory is of interest
	// inject breaks something, primary being the member that serves. What has to follow later it returns: that runs at once, may sleep, and
	// ends before Heal begins.
	inject  func(l *Lab, primary string) (later func() error, err error)
	witness bool // concerns the witness
}

// Faults lists every fault.
func Faults() []Fault { return slices.Clone(faults) }

// FaultByName finds a fault.
func FaultByName(name string) (Fault, error) {
	var names []string
	for _, f := range faults {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Fault{}, fmt.Errorf("no fault %q (one of %s)", name, strings.Join(names, ", "))
}

// Injection is a fault that has happened.
type Injection struct {
	Fault   Fault
	Primary string        // who served when it happened
	At      time.Duration // moment just before it happened, see Now
	Wall    time.Time     // the same by the clock on the wall

	done chan struct{}
	err  error // of what followed later, valid once done is closed
}

// ErrNoPrimary reports that nobody answers at the service address.
var ErrNoPrimary = errors.New("nobody answers at the service address")

// ErrNoSupervisor reports that no sidecars run.
var ErrNoSupervisor = errors.New("no sidecars run: call Supervise first")

// Inject makes a fault happen to the pair as it stands. Heal ends it.
func (l *Lab) Inject(f Fault) (*Injection, error) {
	if l.sup == nil {
		return nil, ErrNoSupervisor
	}
	primary := l.Primary()
	if primary == "" {
		return nil, ErrNoPrimary
	}
	l.Client.AskBy(f.Method)
	in := &Injection{Fault: f, Primary: primary, At: Now(), Wall: time.Now(), done: make(chan struct{})}
	later, err := f.inject(l, primary)
	if err != nil {
		return nil, fmt.Errorf("inject %s: %w", f.Name, err)
	}
	if later == nil {
		close(in.done)
		return in, nil
	}
	go func() {
		defer close(in.done)
		in.err = later()
	}()
	l.injected = in
	return in, nil
}

// Primary is the member that answered at the service address last, empty if there was no answer in the last AnswerLimit.
func (l *Lab) Primary() string {
	asks := l.Client.Window(Now()-AnswerLimit, Now())
	for _, a := range slices.Backward(asks) {
		if a.Sent > Now()-AnswerLimit && a.answered() {
			return a.Server
		}
	}
	return ""
}

// Holders are the members that answer for the service address now: at any look of the last moments.
func (l *Lab) Holders() Holders {
	var now Holders
	for _, s := range l.Observer.Window(Now()-settled, Now()) {
		now |= s.Holders
	}
	return now
}

// Heal ends every fault: cables in, cuts gone, whatever was killed or frozen runs. It doesn't wait for the sidecars to agree: see
// WaitHealthy.
func (l *Lab) Heal() error {
	var errs []error
	if l.injected != nil {
		<-l.injected.done
		errs = append(errs, l.injected.err)
		l.injected = nil
	}
	errs = append(errs, l.SetCuts(), l.setSilent(), l.setLossy())
	for _, host := range append(Members(), Witness) {
		errs = append(errs, l.setCables(host, true))
	}
	for _, m := range Members() {
		errs = append(errs, l.setDeaf(m, false), l.hosts[m].raise(legOf(m, SIP)), l.servers[m].Heal())
	}
	l.Client.AskBy("") // now that the servers answer it again
	return errors.Join(append(errs, l.healSidecars())...)
}

func (l *Lab) healSidecars() error {
	if l.sup == nil {
		return nil
	}
	var errs []error
	for _, host := range append(Members(), Witness) {
		if len(l.sup.Sidecar(host)) > 0 { // else there never was one
			errs = append(errs, eachSidecar(l, host, signalWith(syscall.SIGCONT)), l.sup.StartSidecar(host))
		}
	}
	return errors.Join(errs...)
}

// RestartServers starts the SIP servers of both members anew: they have forgotten who was registered.
func (l *Lab) RestartServers() error {
	var errs []error
	for _, m := range Members() {
		errs = append(errs, l.servers[m].Kill())
	}
	return errors.Join(append(errs, l.Heal())...)
}
