package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// Every kind of server gets its adapter from what the configuration says, and says what is missing.
func TestRegistrars(t *testing.T) {
	dir := t.TempDir()
	secret, phones := filepath.Join(dir, "secret"), filepath.Join(dir, "phones")
	if err := errors.Join(os.WriteFile(secret, []byte("s3cret\n"), 0o600), os.WriteFile(phones, []byte("1001@example.net a b\n* c d\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ contacts, problem string }{
		{"server: kamailio", ""},
		{"server: kamailio, kamailio: {replay: \"192.0.2.1:5062\"}", "only a listener on"},
		{"server: opensips", ""},
		{"server: opensips, opensips: {events: \"udp:192.0.2.1:5098\"}", "192.0.2.1"},
		{"server: asterisk", "give user and secret-file"},
		{"server: asterisk, learn: server, asterisk: {user: u, secret-file: SECRET, rest-user: r, rest-password-file: SECRET}", ""},
		{"server: freeswitch", "no password"},
		{"server: freeswitch, freeswitch: {password-file: SECRET}", ""},
		{"server: generic", "no address to register at"},
		{"server: generic, learn: wire, generic: {register: \"192.0.2.11:5060\", credentials-file: PHONES}", ""},
		{"server: generic, generic: {register: \"192.0.2.11:5060\", credentials-file: PHONES, spoof: true}", "credentials need an answer"},
		{"server: exec", "no program"},
		{"server: exec, exec: {apply: [/bin/true]}", ""},
		{"server: none", ""},
	} {
		t.Run(tt.contacts, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			text := minimal + "contacts: {" + strings.NewReplacer("SECRET", secret, "PHONES", phones).Replace(tt.contacts) + "}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := load(path, identity{flag: "edge-a"})
			var problems Problems
			switch {
			case tt.problem == "" && err != nil:
				t.Fatal(err)
			case tt.problem != "" && (!errors.As(err, &problems) || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("got %v, want a problem with %q", err, tt.problem)
			case tt.problem == "" && s.keepsContacts():
				if _, err := newRegistrar(s, readSecret, zap.NewNop()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestParseCredentials(t *testing.T) {
	of, err := parseCredentials("# phones\n1001@a  anna  s3cret\n\n*\tall x\n")
	if err != nil {
		t.Fatal(err)
	}
	for aor, want := range map[string][2]string{"1001@a": {"anna", "s3cret"}, "1002@a": {"all", "x"}} {
		if user, password := of(aor); user != want[0] || password != want[1] {
			t.Errorf("%s: got %s %s", aor, user, password)
		}
	}
	if _, err := parseCredentials("a b c\nonly two\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}
