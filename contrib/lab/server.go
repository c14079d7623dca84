package lab

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
	"time"
)

// ServerKind names a SIP server that the lab can run.
type ServerKind string

// The servers. Both register phones in memory and answer OPTIONS with an X-Server header that tells who answered.
const (
	Kamailio ServerKind = "kamailio"
	Embedded ServerKind = "embedded"
)

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
	// PIDs are its living processes.
	PIDs() []int
}

// startPatience bounds how long a server may take until it answers.
const startPatience = 10 * time.Second

// server is a SIPServer that is one command.
type server struct {
	lab     *Lab
	host    string
	command Command
	process *Process
}

func (l *Lab) newServer(host string, kind ServerKind) (SIPServer, error) {
	var c Command
	var err error
	switch kind {
	case Kamailio:
		c, err = l.kamailio(host)
	case Embedded:
		c = helperCommand(helperSIPD, "sipd", "LAB_SIPD_NAME="+host, "LAB_SIPD_ADDRESS="+Addr(host, SIP).String())
	default:
		err = fmt.Errorf("unknown SIP server %q (one of %s, %s)", kind, Kamailio, Embedded)
	}
	return &server{lab: l, host: host, command: c}, err
}

func (s *server) Start() error {
	if s.Running() {
		return fmt.Errorf("start %s at %s: it runs", s.command.Name, s.host)
	}
	p, err := s.lab.Start(s.host, s.command)
	if err != nil {
		return err
	}
	s.process = p
	for deadline := Now() + startPatience; Now() < deadline; {
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
	return fmt.Errorf("start %s at %s: no answer in %v: %s", s.command.Name, s.host, startPatience, p.logTail())
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
func (l *Lab) kamailio(host string) (Command, error) {
	program, err := findProgram("kamailio")
	if err != nil {
		return Command{}, err
	}
	dir := l.path("kamailio-" + host)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Command{}, fmt.Errorf("make Kamailio's folder: %w", err)
	}
	config := filepath.Join(dir, "kamailio.cfg")
	leg := legOf(host, SIP)
	err = render(config, kamailioTemplate, map[string]any{
		"Host": host, "Port": Port, "Dir": dir,
		"Addresses": []string{ServiceAddress.String(), leg.addr().String(), "[" + ServiceAddress6.String() + "]", "[" + leg.addr6().String() + "]"},
	})
	// -DD: all in the foreground, in the session that the lab gave it.
	return Command{Name: "kamailio", Args: []string{
		program, "-DD", "-E", "-f", config, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "32", "-M", "4",
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
