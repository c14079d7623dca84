package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/hook"
	"github.com/understudy-sip/understudy/supervisor/registrar"
)

// secret reads what a file holds besides its line end.
type secret func(path string) (string, error)

func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	return strings.TrimRight(string(text), "\r\n"), err
}

// anySecret stands for files that another host has, as far as only their being named matters. It would do for each.
func anySecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return "* name secret", nil
}

// newRegistrar is the adapter of the server that the configuration names.
func newRegistrar(s *Setup, read secret, log *zap.Logger) (server registrar.Server, err error) {
	switch s.Contacts.Server {
	case "kamailio":
		server, err = newKamailio(s, log)
	case "opensips":
		server, err = newOpenSIPS(s, log)
	case "asterisk":
		server, err = newAsterisk(s, read, log)
	case "freeswitch":
		server, err = newFreeSWITCH(s, read, log)
	case "generic":
		server, err = newGeneric(s, read, log)
	default:
		server, err = newExec(s, log)
	}
	if err != nil {
		return nil, err
	}
	if s.Contacts.Learn == "wire" {
		return deaf{server}, nil
	}
	return server, nil
}

// deaf is a server whose own push is not listened to.
type deaf struct{ registrar.Server }

func (deaf) Watch(context.Context, func(registrar.Hint)) error { return registrar.ErrNoPush }

// Name passes on what the server says of its names.
func (d deaf) Name(ctx context.Context, aor string) (string, error) {
	if n, ok := d.Server.(registrar.Namer); ok {
		return n.Name(ctx, aor)
	}
	return aor, nil
}

func newKamailio(s *Setup, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.Kamailio, registrar.DefaultKamailioOptions()
	o.RPC, o.Replay, o.Push, o.Table, o.MinExpires = c.RPC, c.Replay.AddrPort, c.Push.AddrPort, c.Table, time.Duration(c.MinExpires)
	o.Sockets, o.Now, o.Logger = socketsOf(s), sinceStart, log
	return registrar.NewKamailio(o)
}

func newOpenSIPS(s *Setup, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.OpenSIPS, registrar.DefaultOpenSIPSOptions()
	o.MI, o.Events, o.Register, o.Table, o.Domain, o.Flags = c.MI, c.Events, c.Replay.AddrPort, c.Table, c.Domain, c.Flags
	o.Sockets, o.Now, o.Logger = socketsOf(s), sinceStart, log
	return registrar.NewOpenSIPS(o)
}

func newAsterisk(s *Setup, read secret, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.Asterisk, registrar.DefaultAsteriskOptions()
	if c.User == "" || c.SecretFile == "" || c.REST != "" && (c.RESTUser == "" || c.RESTPassword == "") {
		return nil, errors.New("asterisk: give user and secret-file of its manager interface, rest-user and rest-password-file of its REST interface")
	}
	var err error
	if o.Secret, err = read(c.SecretFile); err != nil {
		return nil, fmt.Errorf("read the secret of Asterisk's manager: %w", err)
	}
	if o.RESTPassword, err = read(c.RESTPassword); err != nil {
		return nil, fmt.Errorf("read the password of Asterisk's REST interface: %w", err)
	}
	o.Manager, o.Username, o.REST, o.RESTUsername, o.List = c.Manager, c.User, c.REST, c.RESTUser, c.List
	o.Now, o.Logger = sinceStart, log
	return registrar.NewAsterisk(o)
}

func newFreeSWITCH(s *Setup, read secret, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.FreeSWITCH, registrar.DefaultFreeSWITCHOptions()
	var err error
	if o.Password, err = read(c.PasswordFile); err != nil {
		return nil, fmt.Errorf("read the password of FreeSWITCH's event socket: %w", err)
	}
	o.Socket, o.Profile, o.Now, o.Logger = c.Socket, c.Profile, sinceStart, log
	return registrar.NewFreeSWITCH(o)
}

func newGeneric(s *Setup, read secret, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.Generic, registrar.DefaultGenericOptions()
	if c.Credentials != "" {
		text, err := read(c.Credentials)
		if err != nil {
			return nil, fmt.Errorf("read the phones' credentials: %w", err)
		}
		if o.Credentials, err = parseCredentials(text); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Credentials, err)
		}
	}
	o.Register, o.Domain, o.Spoof, o.Now, o.Logger = c.Register.AddrPort, c.Domain, c.Spoof, sinceStart, log
	return registrar.NewGeneric(o)
}

// parseCredentials reads lines of address of record, user name and password; * stands for every other address of record.
func parseCredentials(text string) (func(aor string) (string, string), error) {
	known := map[string][2]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
		case len(f) == 3:
			known[f[0]] = [2]string{f[1], f[2]}
		default:
			return nil, fmt.Errorf("line %d: want address of record, user name and password", n)
		}
	}
	return func(aor string) (string, string) {
		c, ok := known[aor]
		if !ok {
			c = known["*"]
		}
		return c[0], c[1]
	}, lines.Err()
}

func newExec(s *Setup, log *zap.Logger) (registrar.Server, error) {
	c, o := s.Contacts.Exec, registrar.DefaultExecOptions()
	o.Apply, o.Lookup, o.Limit, o.Now, o.Logger = c.Apply, c.Lookup, time.Duration(c.Timeout), sinceStart, log
	o.Run = func(ctx context.Context, c registrar.ExecCommand) registrar.ExecResult {
		r := runProgram(ctx, hook.Command{Argv: c.Argv, Stdin: c.Stdin, Limit: c.Limit})
		return registrar.ExecResult{Code: r.ExitCode, Output: r.Output, Partial: len(r.Output) >= hook.OutputLimit, Err: r.Err}
	}
	return registrar.NewExec(o)
}

// socketsOf says which socket here stands for one of the other member.
func socketsOf(s *Setup) map[string]string {
	sockets := map[string]string{}
	own := s.Me().SIPAddress
	for _, v := range s.Voters() {
		other := s.Nodes[v.ID].SIPAddress
		if v.Witness || v.ID == s.Self || !other.IsValid() || !own.IsValid() {
			continue
		}
		for _, proto := range []string{"udp", "tcp", "tls", "ws", "wss", "sctp"} {
			for _, port := range append([]int{s.SIPServer.Port}, slices.Concat(s.Traffic.Ports, s.Traffic.TLSPorts, s.Traffic.WSPorts)...) {
				p := fmt.Sprint(port)
				sockets[proto+":"+net.JoinHostPort(other.String(), p)] = proto + ":" + net.JoinHostPort(own.String(), p)
			}
		}
	}
	return sockets
}
