package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// switchName is the namespace with the bridges.
const switchName = "switch"

// Options choose what a lab is made of.
type Options struct {
	Server ServerKind // the SIP server at a and b
}

// DefaultOptions uses Kamailio where it is installed and the embedded server elsewhere.
func DefaultOptions() Options {
	if _, err := findProgram("kamailio"); err != nil {
		return Options{Server: Embedded}
	}
	return Options{Server: Kamailio}
}

// Lab is four hosts on two networks, with SIP servers at the members and a client that asks all the time. Its methods may be used
// by one goroutine at a time, except Primary, Holders and those of Client and Observer.
type Lab struct {
	// Client asks the service address, Observer watches who holds it; both run from New to Close.
	Client   *Client
	Observer *Observer

	dir      string
	sw       *Host
	hosts    map[string]*Host
	servers  map[string]SIPServer
	sup      Supervisor
	injected *Injection
	closed   bool

	mu    sync.Mutex
	procs []*Process
}

// New builds the lab and starts the SIP servers, the client and the observer. No sidecar runs yet: see Supervise. Isolate must have
// put the program inside. After an error nothing is left but an empty set of files in the lab's folder.
func New(o Options) (*Lab, error) {
	if isolated == "" {
		return nil, ErrNotIsolated
	}
	l := &Lab{dir: isolated, hosts: map[string]*Host{}, servers: map[string]SIPServer{}}
	if err := l.build(o); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build(o Options) (err error) {
	if l.sw, err = newHost(switchName); err != nil {
		return err
	}
	for _, leg := range legs {
		if l.hosts[leg.host] == nil {
			if l.hosts[leg.host], err = newHost(leg.host); err != nil {
				return err
			}
		}
	}
	if err := l.buildNetwork(); err != nil {
		return err
	}
	if err := l.prepareCuts(); err != nil {
		return err
	}
	for _, m := range Members() {
		if l.servers[m], err = l.newServer(m, o.Server); err != nil {
			return err
		}
		if err := l.servers[m].Start(); err != nil {
			return err
		}
	}
	if l.Client, err = l.startClient(); err != nil {
		return err
	}
	l.Observer, err = l.startObserver()
	return err
}

// Supervise replaces the sidecars by those of s; nil leaves none. It returns once they run, which may be before they agree: see
// WaitHealthy.
func (l *Lab) Supervise(s Supervisor) error {
	if l.sup != nil {
		if err := l.sup.Stop(); err != nil {
			return err
		}
		l.sup = nil
		if err := l.dropService(); err != nil {
			return err
		}
	}
	if s == nil {
		return nil
	}
	l.sup = s
	return s.Start(l)
}

// Supervisor is what keeps the pair in service now, or nil.
func (l *Lab) Supervisor() Supervisor { return l.sup }

// Server is a member's SIP server.
func (l *Lab) Server(member string) SIPServer { return l.servers[member] }

// at is a host, or the switch.
func (l *Lab) at(host string) *Host {
	if host == switchName {
		return l.sw
	}
	return l.hosts[host]
}

// Dir is the folder with configurations, states and logs. It vanishes with the program.
func (l *Lab) Dir() string { return l.dir }

func (l *Lab) path(name string) string { return filepath.Join(l.dir, name) }

// track remembers a process, to be killed by Close.
func (l *Lab) track(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.procs = append(l.procs, p)
}

// Close ends every process of the lab and lets the namespaces go. Closing twice is harmless.
func (l *Lab) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	if l.sup != nil {
		errs = append(errs, l.sup.Stop())
	}
	if l.Client != nil {
		errs = append(errs, l.Client.close())
	}
	if l.Observer != nil {
		errs = append(errs, l.Observer.close())
	}
	l.mu.Lock()
	procs := l.procs
	l.procs = nil
	l.mu.Unlock()
	for _, p := range procs {
		if err := p.Kill(); err != nil {
			errs = append(errs, fmt.Errorf("close the lab: %w", err))
		}
	}
	for _, h := range l.hosts {
		h.close()
	}
	if l.sw != nil {
		l.sw.close()
	}
	return errors.Join(errs...)
}
