package main

import (
	"net/netip"
	"time"
)

// Contacts says how the registrations of both members are kept the same. Of the sections the one of the server that is named counts.
type Contacts struct {
	Server     string     `key:"server" oneof:"none kamailio opensips asterisk freeswitch generic exec"`
	Learn      string     `key:"learn" oneof:"auto server wire"`
	Kamailio   Kamailio   `key:"kamailio"`
	OpenSIPS   OpenSIPS   `key:"opensips"`
	Asterisk   Asterisk   `key:"asterisk"`
	FreeSWITCH FreeSWITCH `key:"freeswitch"`
	Generic    Generic    `key:"generic"`
	Exec       Programs   `key:"exec"`
}

// Kamailio is how a Kamailio is asked and told.
type Kamailio struct {
	RPC        string   `key:"rpc" is:"path"`
	Replay     HostPort `key:"replay"`
	Push       HostPort `key:"push"`
	Table      string   `key:"table" is:"name"`
	MinExpires Duration `key:"min-expires" min:"0s" max:"1h"`
}

// OpenSIPS is how an OpenSIPS is asked and told.
type OpenSIPS struct {
	MI     string   `key:"mi" is:"line"`
	Events string   `key:"events" is:"line"`
	Replay HostPort `key:"replay"`
	Table  string   `key:"table" is:"name"`
	Domain string   `key:"domain" is:"line"`
	Flags  []string `key:"branch-flags" is:"line"`
}

// Asterisk is how an Asterisk is asked and told.
type Asterisk struct {
	Manager      string `key:"manager" is:"line"`
	User         string `key:"user" is:"line"`
	SecretFile   string `key:"secret-file" is:"path"`
	REST         string `key:"rest" is:"line"`
	RESTUser     string `key:"rest-user" is:"line"`
	RESTPassword string `key:"rest-password-file" is:"path"`
	List         bool   `key:"list"`
}

// FreeSWITCH is how a FreeSWITCH is asked and told.
type FreeSWITCH struct {
	Socket       string `key:"socket" is:"line"`
	PasswordFile string `key:"password-file" is:"path"`
	Profile      string `key:"profile" is:"line"`
}

// Generic is how any registrar is told.
type Generic struct {
	Register    HostPort `key:"register"`
	Domain      string   `key:"domain" is:"line"`
	Credentials string   `key:"credentials-file" is:"path"`
	Spoof       bool     `key:"spoof"`
}

// Programs are the operator's own, which know the server.
type Programs struct {
	Apply   []string `key:"apply" is:"command"`
	Lookup  []string `key:"lookup" is:"command"`
	Timeout Duration `key:"timeout" min:"100ms" max:"5m"`
}

// noRegistrar is the server of those whose registrations are kept by nobody, or by the servers themselves.
const noRegistrar = "none"

func defaultContacts() Contacts {
	at := func(s string) HostPort { return HostPort{netip.MustParseAddrPort(s)} }
	return Contacts{
		Server: noRegistrar, Learn: "auto",
		Kamailio: Kamailio{
			RPC: "/run/kamailio/kamailio_rpc.sock", Replay: at("127.0.0.1:5062"), Push: at("127.0.0.1:5098"), Table: "location", MinExpires: Duration(time.Minute),
		},
		OpenSIPS: OpenSIPS{
			MI: "udp:127.0.0.1:8080", Events: "udp:127.0.0.1:5098", Replay: at("127.0.0.1:5062"), Table: "location", Flags: []string{"NAT"},
		},
		Asterisk:   Asterisk{Manager: "127.0.0.1:5038", REST: "http://127.0.0.1:8088/ari"},
		FreeSWITCH: FreeSWITCH{Socket: "127.0.0.1:8021", Profile: "internal"},
		Exec:       Programs{Timeout: Duration(10 * time.Second)},
	}
}

// resolved gives the section with {node} replaced.
func (c Contacts) resolved(path func(string) string, argv func([]string) []string) Contacts {
	c.Kamailio.RPC = path(c.Kamailio.RPC)
	c.Asterisk.SecretFile, c.Asterisk.RESTPassword = path(c.Asterisk.SecretFile), path(c.Asterisk.RESTPassword)
	c.FreeSWITCH.PasswordFile, c.Generic.Credentials = path(c.FreeSWITCH.PasswordFile), path(c.Generic.Credentials)
	c.Exec.Apply, c.Exec.Lookup = argv(c.Exec.Apply), argv(c.Exec.Lookup)
	return c
}

// secrets are the files that the server's section names.
func (c Contacts) secrets() map[string]string {
	all := map[string]map[string]string{
		"asterisk": {
			"contacts.asterisk.secret-file": c.Asterisk.SecretFile, "contacts.asterisk.rest-password-file": c.Asterisk.RESTPassword,
		},
		"freeswitch": {"contacts.freeswitch.password-file": c.FreeSWITCH.PasswordFile},
		"generic":    {"contacts.generic.credentials-file": c.Generic.Credentials},
	}[c.Server]
	for key, path := range all {
		if path == "" {
			delete(all, key)
		}
	}
	return all
}
