package lab

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/understudy-sip/understudy/contrib/etc"
)

// ServerKind names a SIP server that the lab can run.
type ServerKind string

// The servers. Both register phones in memory and answer OPTIONS with an X-Server header that tells who answered.
const (
	Kamailio ServerKind = "kamailio"
	Embedded ServerKind = "embedded"
)

// Behaviour is how a server treats requests.
type Behaviour string

// The behaviours.
const (
	Normal      Behaviour = "normal"
	Options404  Behaviour = "options-404" // answers OPTIONS with this code, and serves calls
	Options405  Behaviour = "options-405"
	Options501  Behaviour = "options-501"
	OptionsDead Behaviour = "options-dead" // doesn't answer OPTIONS, and serves calls
	Overloaded  Behaviour = "overloaded"   // refuses every other request with 503
	Slow        Behaviour = "slow"         // takes 20 ms for each request
)

// workers is how many requests a server works on at a time, for each of its addresses.
const workers = 2

// SIPServer is one member's SIP server.
type SIPServer interface {
	// Start starts it and returns when it answers. It is an error if it runs.
	Start() error
	// Running reports whether any of its processes lives, frozen or not.
	Running() bool
	// Kill ends all its processes at once with SIGKILL.
	Kill() error
	// Freeze stops all its processes (SIGSTOP), Thaw lets them go on.
	Freeze() error
	Thaw() error
	// Behave makes it treat requests in another way, until it is started again.
	Behave(b Behaviour) error
	// Stall makes it do nothing at all for 800 ms: each of its workers waits for something.
	Stall() error
	// Misplace kills it and starts it again at a port at which nobody looks for it.
	Misplace() error
	// Heal makes it run and behave as it should.
	Heal() error
	// PIDs are its living processes.
	PIDs() []int
}

// patience bounds how long a program of the lab may take until it answers, or has ended.
const patience = 10 * time.Second

// server is a SIPServer that is one command.
type server struct {
	lab       *Lab
	host      string
	command   Command // at the right port
	misplaced Command // at the wrong one
	process   *Process
	astray    bool // it runs at the wrong port
	behaviour Behaviour
}

func (l *Lab) newServer(host string, kind ServerKind) (SIPServer, error) {
	right, err := l.serverCommand(host, kind, Port)
	if err != nil {
		return nil, err
	}
	wrong, err := l.serverCommand(host, kind, Port+10)
	return &server{lab: l, host: host, command: right, misplaced: wrong, behaviour: Normal}, err
}

func (l *Lab) serverCommand(host string, kind ServerKind, port uint16) (Command, error) {
	switch kind {
	case Kamailio:
		return l.kamailio(host, port)
	case Embedded:
		return helperCommand(helperSIPD, "sipd", "LAB_SIPD_NAME="+host,
			"LAB_SIPD_LISTEN="+netip.AddrPortFrom(Addr(host, SIP), port).String()), nil
	}
	return Command{}, fmt.Errorf("unknown SIP server %q (one of %s, %s)", kind, Kamailio, Embedded)
}

func (s *server) Start() error {
	if s.Running() {
		return fmt.Errorf("start %s at %s: it runs", s.command.Name, s.host)
	}
	p, err := s.lab.Start(s.host, s.command)
	if err != nil {
		return err
	}
	s.process, s.behaviour, s.astray = p, Normal, false
	for deadline := Now() + patience; Now() < deadline; {
		ctx, cancel := context.WithTimeout(context.Background(), 2*transactWait)
		err := s.lab.askOnce(ctx, s.host, Addr(s.host, SIP))
		cancel()
		if err == nil {
			return nil
		}
		if p.ended() {
			return fmt.Errorf("start %s at %s: it ended: %v: %s", s.command.Name, s.host, p.err, p.logTail())
		}
	}
	return fmt.Errorf("start %s at %s: no answer in %v: %s", s.command.Name, s.host, patience, p.logTail())
}

// Misplace is Start at the wrong port; nobody waits for it there.
func (s *server) Misplace() error {
	if err := s.Kill(); err != nil {
		return err
	}
	p, err := s.lab.Start(s.host, s.misplaced)
	if err != nil {
		return err
	}
	s.process, s.astray = p, true
	return nil
}

func (s *server) Behave(b Behaviour) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.lab.transact(ctx, s.host, request{
		method: "INFO", target: Addr(s.host, SIP), user: "lab", lines: fmt.Sprintf("X-Fault: %s\r\n", b),
	})
	if err != nil {
		return fmt.Errorf("make %s at %s behave %s: %w", s.command.Name, s.host, b, err)
	}
	s.behaviour = b
	return nil
}

// Stall gives each worker one request that takes so long. None waits for an answer.
func (s *server) Stall() error {
	conn, err := s.lab.listen(s.host, netip.AddrPortFrom(Addr(s.host, SIP), 0))
	if err != nil {
		return err
	}
	defer conn.Close()
	r := request{method: "INFO", from: conn.LocalAddr().(*net.UDPAddr).AddrPort(), user: "lab", lines: "X-Stall: 1\r\n"}
	for _, r.target = range []netip.Addr{Addr(s.host, SIP), ServiceAddress} {
		for range workers {
			r.serial = 1<<63 + transactSerial.Add(1)
			if _, err := conn.WriteToUDPAddrPort(r.append(nil), netip.AddrPortFrom(r.target, Port)); err != nil {
				return fmt.Errorf("stall %s at %s: %w", s.command.Name, s.host, err)
			}
		}
	}
	return nil
}

func (s *server) Heal() error {
	if err := s.Thaw(); err != nil {
		return err
	}
	if s.astray {
		if err := s.Kill(); err != nil {
			return err
		}
	}
	switch {
	case !s.Running():
		return s.Start()
	case s.behaviour != Normal:
		return s.Behave(Normal)
	}
	return nil
}

func (s *server) PIDs() []int {
	if s.process == nil {
		return nil
	}
	return s.process.PIDs()
}

func (s *server) Running() bool { return len(s.PIDs()) > 0 }

func (s *server) Kill() error { return s.signal(func(p *Process) error { return p.Kill() }) }
func (s *server) Freeze() error {
	return s.signal(func(p *Process) error { return p.Signal(syscall.SIGSTOP) })
}
func (s *server) Thaw() error {
	return s.signal(func(p *Process) error { return p.Signal(syscall.SIGCONT) })
}

func (s *server) signal(f func(*Process) error) error {
	if s.process == nil {
		return nil
	}
	return f(s.process)
}

//go:embed kamailio.cfg.tmpl
var kamailioTemplate string

// kamailio is the command that runs Kamailio at a host.
func (l *Lab) kamailio(host string, port uint16) (Command, error) {
	program, err := findProgram("kamailio")
	if err != nil {
		return Command{}, err
	}
	dir := l.path("kamailio-" + host)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Command{}, fmt.Errorf("make Kamailio's folder: %w", err)
	}
	config := filepath.Join(dir, fmt.Sprintf("kamailio-%d.cfg", port))
	leg := legOf(host, SIP)
	if err := os.WriteFile(filepath.Join(dir, "understudy.cfg"), []byte(etc.Kamailio), 0o600); err != nil {
		return Command{}, fmt.Errorf("write Kamailio's part for understudy: %w", err)
	}
	err = render(config, kamailioTemplate, map[string]any{
		"Host": host, "Port": port, "Dir": dir, "Workers": workers, "Stall": stalled.Microseconds(),
		"Addresses": []string{ServiceAddress.String(), leg.addr().String(), "[" + ServiceAddress6.String() + "]", "[" + leg.addr6().String() + "]"},
	})
	// -DD: all in the foreground, in the session that the lab gave it.
	return Command{Name: "kamailio", Args: []string{
		program, "-DD", "-E", "-f", config, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "256", "-M", "8",
	}}, err
}

// render fills a template in and writes the file, for its owner only.
func render(path, text string, data any) error {
	t, err := template.New(filepath.Base(path)).Option("missingkey=error").Parse(text)
	if err != nil {
		return fmt.Errorf("read the template of %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := t.Execute(f, data); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// findProgram looks in PATH and in the folders for administrators' programs, which ordinary users often lack.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; contrib/lab/setup.sh installs it", name)
}
