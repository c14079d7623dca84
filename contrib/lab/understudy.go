package lab

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed understudy.yaml.tmpl
var understudyTemplate string

// understudy is a pair of understudy sidecars and a witness.
type understudy struct {
	sidecars

	program string
	preset  string
}

// Understudy is understudy with a preset ("default", "fast"). program is the path of its binary.
func Understudy(program, preset string) (Supervisor, error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", program, err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("find understudy (make build makes it): %w", err)
	}
	return &understudy{program: path, preset: preset}, nil
}

func (u *understudy) Name() string           { return "understudy " + u.preset }
func (u *understudy) Horizon() time.Duration { return time.Second }
func (u *understudy) dir() string            { return u.lab.path("understudy") }
func (u *understudy) socket(host string) string {
	return filepath.Join(u.dir(), host+".sock")
}

func (u *understudy) Start(l *Lab) error {
	u.lab = l
	if err := u.prepare(); err != nil {
		return err
	}
	for _, n := range understudyNodes() {
		if err := u.StartSidecar(n.Name); err != nil {
			return err
		}
	}
	return nil
}

// understudyNode is one line of the configuration.
type understudyNode struct {
	Name, Management, SIP, Interface string
	Witness                          bool
}

func understudyNodes() []understudyNode {
	var nodes []understudyNode
	for _, name := range append(Members(), Witness) {
		nodes = append(nodes, understudyNode{
			Name: name, Management: Addr(name, Management).String(), SIP: Addr(name, SIP).String(),
			Interface: legOf(name, SIP).link(), Witness: name == Witness,
		})
	}
	return nodes
}

// prepare writes the configuration and the certificates.
func (u *understudy) prepare() error {
	pki := filepath.Join(u.dir(), "pki")
	if err := errors.Join(os.RemoveAll(u.dir()), os.MkdirAll(u.dir(), 0o700)); err != nil {
		return fmt.Errorf("make understudy's folder: %w", err)
	}
	if _, err := u.lab.Run(MemberA, u.program, "pki", "init", "--dir", pki, "--cluster", "lab"); err != nil {
		return err
	}
	for _, n := range understudyNodes() {
		args := []string{u.program, "pki", "issue", "--dir", pki, n.Name}
		if n.Witness {
			args = append(args, "--witness")
		}
		if _, err := u.lab.Run(MemberA, args...); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(u.dir(), n.Name), 0o700); err != nil {
			return fmt.Errorf("make the state folder of %s: %w", n.Name, err)
		}
	}
	return render(u.config(), understudyTemplate, map[string]any{
		"Preset": u.preset, "Nodes": understudyNodes(), "Dir": u.dir(), "Port": Port,
		"Address": ServiceAddress, "Address6": ServiceAddress6,
	})
}

func (u *understudy) config() string { return filepath.Join(u.dir(), "understudy.yaml") }

func (u *understudy) StartSidecar(host string) error {
	return u.start(host, Command{Name: "understudy", Args: []string{u.program, "run", "-c", u.config(), "--node", host}})
}

func (u *understudy) Stop() error { return u.kill() }

func (u *understudy) Switchover(to string) error {
	_, err := u.lab.Run(to, u.program, "switchover", "--to", to, "--socket", u.socket(to))
	return err
}

// background are the conditions that arise in the lab without a fault: of the device that is not there, and of a busy machine.
var background = []string{"device-out-of-service", "loop-late"}

// Detected looks for the first switchover, else for the first alarm.
func (u *understudy) Detected(host string, since time.Time) (at time.Time, what string, err error) {
	note := func(moment time.Time, name string) {
		if !moment.Before(since) && (at.IsZero() || moment.Before(at)) {
			at, what = moment, name
		}
	}
	var switchovers []struct {
		At      time.Time `json:"at"`
		Trigger string    `json:"trigger"`
	}
	var active, ended []labAlarm
	if err := u.ask(host, &switchovers, "history"); err != nil {
		return at, "", err
	}
	for _, s := range switchovers {
		note(s.At, s.Trigger)
	}
	if !at.IsZero() {
		return at, what, nil
	}
	err = errors.Join(u.ask(host, &active, "alarm", "list"), u.ask(host, &ended, "alarm", "list", "--ended"))
	if err != nil {
		return at, "", err
	}
	for _, a := range append(active, ended...) {
		if slices.Contains(background, a.Condition) {
			continue
		}
		note(a.Last, a.Condition)
		note(a.First, a.Condition)
	}
	return at, what, nil
}

// labAlarm is an alarm as `understudy alarm list` shows it. One that is older than a fault was noticed again if its last detection is not.
type labAlarm struct {
	Condition   string `json:"condition"`
	Object      string `json:"object"`
	First, Last time.Time
}

// Forget clears the active alarms. One that can't be cleared has just ended by itself.
func (u *understudy) Forget() error {
	var active []labAlarm
	if err := u.ask(MemberA, &active, "alarm", "list"); err != nil {
		return err
	}
	for _, a := range active {
		if !slices.Contains(background, a.Condition) {
			_, _ = u.lab.Run(MemberA, u.program, "alarm", "clear", a.Condition, "--object", a.Object, "--socket", u.socket(MemberA))
		}
	}
	return nil
}

// ask runs a verb at a host and reads its answer.
func (u *understudy) ask(host string, into any, verb ...string) error {
	out, err := u.lab.Run(host, append(append([]string{u.program}, verb...), "-o", "json", "--socket", u.socket(host))...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read what %s said: %w: %s", strings.Join(verb, " "), err, out)
	}
	return nil
}

// Healthy asks both members: `understudy status` ends with 0 when nothing is wrong.
func (u *understudy) Healthy() error {
	var errs []error
	for _, m := range Members() {
		_, err := u.lab.Run(m, u.program, "status", "-o", "json", "--socket", u.socket(m))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
