package lab

import (
	"errors"
	"fmt"
	"time"
)

// Supervisor is a way to keep the pair in service: the sidecars of one product in one configuration.
type Supervisor interface {
	// Name tells it apart in tables: "understudy fast".
	Name() string
	// Start starts all sidecars. Each host's sidecar can be started again after it has ended.
	Start(l *Lab) error
	StartSidecar(host string) error
	// Stop kills all sidecars and forgets their state.
	Stop() error
	// Sidecar is what runs beside a host's server; nothing where there is none: keepalived has no witness.
	Sidecar(host string) []*Process
	// Switchover asks, in the way an operator would, that a member becomes primary. It need not wait for it.
	Switchover(to string) error
	// Healthy is nil when the sidecars themselves say that one member is primary and the other ready to be.
	Healthy() error
	// Horizon is the time after which no reaction to a fault is to be expected any more.
	Horizon() time.Duration
}

// Detector is a Supervisor that tells when it noticed a fault: when it decided to move the role, or raised the first alarm if it did not.
type Detector interface {
	// Detected asks a host's sidecar. The moment is zero if nothing was noticed since.
	Detected(host string, since time.Time) (at time.Time, what string, err error)
	// Forget ends the alarms that are left of earlier faults, as somebody on duty would: the next fault is noticed anew.
	Forget() error
}

// SidecarPIDs are the processes of a host's sidecar.
func SidecarPIDs(s Supervisor, host string) []int {
	var pids []int
	for _, p := range s.Sidecar(host) {
		pids = append(pids, p.PIDs()...)
	}
	return pids
}

// sidecars are the running sidecars of a supervisor, by host.
type sidecars struct {
	lab     *Lab
	running map[string]*Process
}

// Sidecar is a host's running sidecar, as Supervisor wants it.
func (s *sidecars) Sidecar(host string) []*Process {
	if p := s.running[host]; p != nil {
		return []*Process{p}
	}
	return nil
}

// start runs a host's sidecar, unless it runs.
func (s *sidecars) start(host string, c Command) error {
	if p := s.running[host]; p != nil && !p.ended() {
		return nil
	}
	p, err := s.lab.Start(host, c)
	if err != nil {
		return err
	}
	if s.running == nil {
		s.running = map[string]*Process{}
	}
	s.running[host] = p
	return nil
}

// kill ends all sidecars.
func (s *sidecars) kill() error {
	var errs []error
	for _, p := range s.running {
		errs = append(errs, p.Kill())
	}
	s.running = nil
	return errors.Join(errs...)
}

// ErrSidecarEnded reports a sidecar that ended though nobody killed it; what it said last comes with it.
var ErrSidecarEnded = errors.New("a sidecar has ended")

// allRun is ErrSidecarEnded if a sidecar has ended.
func allRun(s Supervisor) error {
	for _, host := range append(Members(), Witness) {
		for _, p := range s.Sidecar(host) {
			if p.ended() {
				return fmt.Errorf("%w: %s at %s: %v: %s", ErrSidecarEnded, p.name, host, p.err, p.logTail())
			}
		}
	}
	return nil
}
