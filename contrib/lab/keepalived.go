package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopPatience is how long a keepalived that was asked to end may take.
const stopPatience = 5 * time.Second

//go:embed keepalived-published.conf.tmpl
var keepalivedPublished string

//go:embed keepalived-tuned.conf.tmpl
var keepalivedTuned string

// keepalived is a pair of keepalived daemons. There is no witness.
type keepalived struct {
	sidecars

	name     string
	template string
	horizon  time.Duration
	probes   bool // with a probing daemon beside each, see runProbe
	probing  sidecars
	stopping *Process // was asked to end by Switchover

	mu     sync.Mutex
	states map[string]string // host: its state as keepalived announces it: MASTER, BACKUP, FAULT, STOP
	fifos  []*os.File
	wg     sync.WaitGroup
}

// KeepalivedPublished is keepalived as the published guides to pairs of Kamailio servers have it.
func KeepalivedPublished() Supervisor {
	return &keepalived{name: "keepalived published", template: keepalivedPublished, horizon: 5 * time.Second}
}

// KeepalivedTuned is keepalived tuned as well as it can be; its configuration says how.
func KeepalivedTuned() Supervisor {
	return &keepalived{name: "keepalived tuned", template: keepalivedTuned, horizon: time.Second, probes: true}
}

// Sidecar is keepalived and the daemon that probes for it.
func (k *keepalived) Sidecar(host string) []*Process {
	return append(k.sidecars.Sidecar(host), k.probing.Sidecar(host)...)
}

func (k *keepalived) Name() string           { return k.name }
func (k *keepalived) Horizon() time.Duration { return k.horizon }

// ErrScripts reports that keepalived can't run its check script here.
var ErrScripts = errors.New("keepalived runs check scripts only where setgroups is allowed, and takes them for good elsewhere: run the lab as root")

func (k *keepalived) Start(l *Lab) error {
	if raw, err := os.ReadFile("/proc/self/setgroups"); !k.probes && err == nil && strings.TrimSpace(string(raw)) == "deny" {
		return ErrScripts
	}
	k.lab, k.probing.lab, k.states = l, l, map[string]string{}
	for _, m := range Members() {
		if err := k.prepare(m); err != nil {
			return err
		}
		if err := k.StartSidecar(m); err != nil {
			return err
		}
	}
	return nil
}

func (k *keepalived) dir(host string) string { return k.lab.path("keepalived-" + host) }

// prepare writes a host's configuration and opens the FIFO by which keepalived tells its state.
func (k *keepalived) prepare(host string) error {
	dir := k.dir(host)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("make keepalived's folder: %w", err)
	}
	sipsak, err := findProgram("sipsak")
	if err != nil {
		return err
	}
	err = render(filepath.Join(dir, "keepalived.conf"), k.template, map[string]any{
		"Host": host, "Dir": dir, "Sipsak": sipsak, "Interface": legOf(host, SIP).link(),
		"Own": Addr(host, SIP), "Peer": Addr(Peer(host), SIP),
		"Address": ServiceAddress, "Address6": ServiceAddress6,
	})
	if err != nil {
		return err
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", fifo, err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0) // for writing too: then it never ends while keepalived comes and goes
	if err != nil {
		return fmt.Errorf("open %s: %w", fifo, err)
	}
	k.fifos = append(k.fifos, f)
	k.wg.Go(func() { k.listen(host, f) })
	return nil
}

// listen follows the states that keepalived announces: INSTANCE "sip" MASTER 100. It announces some events in the same form.
func (k *keepalived) listen(host string, f *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:n])) {
			f := strings.Fields(line)
			if len(f) >= 3 && f[0] == "INSTANCE" && slices.Contains([]string{"MASTER", "BACKUP", "FAULT", "STOP"}, f[2]) {
				k.setState(host, f[2])
			}
		}
	}
}

func (k *keepalived) setState(host, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.states[host] = state
}

func (k *keepalived) StartSidecar(host string) error {
	program, err := findProgram("keepalived")
	if err != nil {
		return err
	}
	dir := k.dir(host)
	if k.probes {
		err := k.probing.start(host, helperCommand(helperProbe, "keepalived-probe",
			"LAB_PROBE_OWN="+Addr(host, SIP).String(), "LAB_PROBE_PEER="+Addr(Peer(host), SIP).String(), "LAB_PROBE_DIR="+dir))
		if err != nil {
			return err
		}
	}
	p := k.running[host]
	if p != nil && p == k.stopping { // it takes 2 seconds over that
		if err := p.Stop(stopPatience); err != nil {
			return err
		}
	}
	if p == nil || p.ended() {
		k.setState(host, "")
	}
	return k.start(host, Command{Name: "keepalived", Args: []string{
		program, "--dont-fork", "--vrrp", "--log-console", "--log-detail", "--no-syslog",
		"--use-file", filepath.Join(dir, "keepalived.conf"),
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"),
	}})
}

func (k *keepalived) Stop() error {
	errs := []error{k.kill(), k.probing.kill()}
	for _, f := range k.fifos {
		errs = append(errs, f.Close())
	}
	k.wg.Wait()
	k.fifos = nil
	return errors.Join(errs...)
}

// Switchover stops keepalived on the primary, as every guide has it: it says so in an advertisement of priority 0. StartSidecar, and so
// Heal, starts it again.
func (k *keepalived) Switchover(to string) error {
	p := k.running[Peer(to)]
	if p == nil || p.ended() {
		return fmt.Errorf("switch over to %s: no keepalived at %s", to, Peer(to))
	}
	k.stopping = p
	return p.cmd.Process.Signal(syscall.SIGTERM)
}

func (k *keepalived) Healthy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	count := map[string]int{}
	for _, m := range Members() {
		count[k.states[m]]++
	}
	if count["MASTER"] != 1 || count["BACKUP"] != 1 {
		return fmt.Errorf("keepalived is %s at %s and %s at %s", k.states[MemberA], MemberA, k.states[MemberB], MemberB)
	}
	return nil
}
