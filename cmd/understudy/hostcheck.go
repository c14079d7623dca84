package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"

	"github.com/understudy-sip/understudy/supervisor/hook"
)

// hostWarnings says what on this host does not fit the configuration yet. They are no errors of the file, which is checked on other
// hosts too; but what is missing would surface at the next failover otherwise.
func hostWarnings(s *Setup) []string {
	var out []string
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range []struct{ key, path string }{{"tls.ca", s.TLS.CA}, {"tls.cert", s.TLS.Cert}, {"tls.key", s.TLS.Key}} {
		if why := unreadable(f.path); why != "" {
			warn("%s: %s %s; `understudy pki` makes it", f.key, f.path, why)
		}
	}
	if unreadable(s.TLS.Cert) == "" && unreadable(s.TLS.Key) == "" {
		if _, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key); err != nil {
			warn("tls.cert and tls.key do not fit: %v", err)
		}
	}
	if me := s.Me(); !me.Witness {
		if _, err := net.InterfaceByName(me.Interface); err != nil {
			warn("nodes.%s.interface: there is no interface %s here", s.Self, me.Interface)
		}
	}
	for _, p := range programs(s) {
		if err := hook.Check(p.argv[0]); err != nil {
			warn("%s: %v", p.key, err)
		}
	}
	if s.keepsContacts() {
		if path := s.Contacts.Kamailio.RPC; s.Contacts.Server == "kamailio" {
			if _, err := os.Stat(path); err != nil {
				warn("contacts.kamailio.rpc: there is no %s: Kamailio does not run, or has no dgram_socket for jsonrpcs there", path)
			}
		}
		secrets := s.Contacts.secrets()
		for _, key := range slices.Sorted(maps.Keys(secrets)) {
			if why := unreadable(secrets[key]); why != "" {
				warn("%s: %s %s", key, secrets[key], why)
			}
		}
	}
	if !s.Me().Witness {
		for _, name := range slices.Sorted(maps.Keys(s.Devices)) {
			if dev := s.Devices[name]; dev.User != "" {
				if path := forNode(dev.Password, s.Self); unreadable(path) != "" {
					warn("devices.%s.password-file: %s %s", name, path, unreadable(path))
				}
			}
		}
	}
	return out
}

type program struct {
	key  string
	argv []string
}

// programs are the operator's programs that this node will run; a witness only notifies.
func programs(s *Setup) []program {
	all := []program{{"hooks.notify", s.Hooks.Notify}}
	if !s.Me().Witness {
		all = append(all, program{"hooks.on-primary", s.Hooks.OnPrimary}, program{"hooks.on-backup", s.Hooks.OnBackup},
			program{"service-address.up-script", s.ServiceAddress.UpScript},
			program{"service-address.down-script", s.ServiceAddress.DownScript})
	}
	if s.keepsContacts() && s.Contacts.Server == "exec" {
		all = append(all, program{"contacts.exec.apply", s.Contacts.Exec.Apply}, program{"contacts.exec.lookup", s.Contacts.Exec.Lookup})
	}
	return slices.DeleteFunc(all, func(p program) bool { return len(p.argv) == 0 })
}

func unreadable(path string) string {
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is not there"
	case err != nil:
		return "cannot be read"
	}
	_ = file.Close()
	return ""
}
