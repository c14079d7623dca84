package main

import (
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Config is the configuration file, the same on all three hosts. The tags are the schema that decoder, printer and hash walk:
//
//	key    the key in the file
//	need   the key has no default and must be there
//	oneof  the words that a string may be
//	is     what a string must be: name (a DNS label), path (absolute), interface, line (printable); a list may be: command
//	min, max  the bounds of a number or a duration, inclusive
type Config struct {
	Version          int                         `key:"version" need:"yes" min:"1" max:"1"`
	Cluster          string                      `key:"cluster" need:"yes" is:"name"`
	Node             supervisor.NodeID           `key:"node" is:"name"`
	Preset           supervisor.Preset           `key:"preset" oneof:"default fast wan"`
	Nodes            map[supervisor.NodeID]Voter `key:"nodes" need:"yes" is:"name"`
	StateDir         string                      `key:"state-dir" is:"path"`
	TLS              TLS                         `key:"tls"`
	ServiceAddress   ServiceAddress              `key:"service-address"`
	SIPServer        SIPServer                   `key:"sip-server"`
	SIPPassCheck     bool                        `key:"sip-pass-check"`
	Devices          map[string]Device           `key:"devices" is:"name"`
	OOSAnswers       []AnswerCodes               `key:"oos-answers"`
	Traffic          Traffic                     `key:"traffic"`
	TLibNIC          bool                        `key:"tlib-nic-monitoring"`
	SIPNIC           bool                        `key:"sip-nic-monitoring"`
	NIC              NIC                         `key:"nic"`
	SIPIPTakeover    bool                        `key:"sip-iptakeover-monitoring"`
	Contacts         Contacts                    `key:"contacts"`
	Alarms           AlarmsConfig                `key:"alarms"`
	OnQuorumLoss     QuorumLoss                  `key:"on-quorum-loss" oneof:"demote hold"`
	SwitchoverBudget Budget                      `key:"switchover-budget"`
	Hooks            Hooks                       `key:"hooks"`
	API              API                         `key:"api"`
	Log              Log                         `key:"log"`
}

// Voter is one of the three nodes.
type Voter struct {
	Address    HostPort   `key:"address" need:"yes"` // where the others reach it
	SIPAddress netip.Addr `key:"sip-address"`        // of its SIP server; of a witness: where it probes from, none: it does not
	Interface  string     `key:"interface" is:"interface"`
	SIPNIC     netip.Addr `key:"sip-nic-address"` // what sip-nic-monitoring looks after; none: sip-address
	Witness    bool       `key:"witness"`
}

// TLS names the certificates with which nodes prove their names to each other.
type TLS struct {
	CA   string `key:"ca" is:"path"`
	Cert string `key:"cert" is:"path"`
	Key  string `key:"key" is:"path"`
}

// ServiceAddress is what follows the primary.
type ServiceAddress struct {
	Addresses         []Prefix `key:"addresses" need:"yes"`
	Fence             Fence    `key:"fence" oneof:"auto nftables lifetime none"`
	Announce          Announce `key:"announce"`
	ControlVIPScripts bool     `key:"control-vip-scripts"`
	UpScript          []string `key:"up-script" is:"command"`
	DownScript        []string `key:"down-script" is:"command"`
	ScriptTimeout     Duration `key:"script-timeout" min:"100ms" max:"5m"`
}

// Announce says when neighbours are told where the service address is.
type Announce struct {
	Schedule []Duration `key:"schedule" min:"0s" max:"5m"` // after taking the address
	Refresh  Duration   `key:"refresh" min:"0s" max:"1h"`  // from then on; 0: never
}

// SIPServer is the server that is supervised, on each member the same.
type SIPServer struct {
	Port      int       `key:"port" min:"1" max:"65535"`
	Transport Transport `key:"transport" oneof:"udp tcp tls"`
	URIUser   string    `key:"uri-user" is:"line"` // user part of the URI of the OPTIONS; empty: none
	Rise      int       `key:"rise" min:"1" max:"100"`
	Process   string    `key:"process" is:"line"` // name of its processes; empty: whoever holds the socket
	HangAfter Duration  `key:"hang-after" min:"200ms" max:"1m"`
	BindWait  Duration  `key:"bind-wait" min:"0s" max:"10m"`
}

// Hooks are the operator's programs: an absolute path and its arguments.
type Hooks struct {
	OnPrimary []string `key:"on-primary" is:"command"`
	OnBackup  []string `key:"on-backup" is:"command"`
	Notify    []string `key:"notify" is:"command"`
	Timeout   Duration `key:"timeout" min:"100ms" max:"10m"`
}

// API is the local interface of the daemon.
type API struct {
	Socket string   `key:"socket" is:"path"`
	Listen HostPort `key:"listen"` // for monitoring, which reads and orders nothing; none: nobody
}

// Log says how much is logged and how it is written.
type Log struct {
	Level  string `key:"level" oneof:"debug info warn error"`
	Format string `key:"format" oneof:"console json"`
}

// QuorumLoss is what a primary does when it no longer hears a majority.
type QuorumLoss string

// The policies.
const (
	Demote       QuorumLoss = "demote"
	HoldOnRisk   QuorumLoss = "hold"
	defaultPort             = 5060
	schemaNumber            = 1
)

// Fence is which of the kernel's means takes the address from a dead sidecar; auto is the strongest there is.
type Fence string

// Transport is how the own SIP server is probed.
type Transport string

// defaultConfig is the configuration of somebody who wrote only what has no default.
func defaultConfig() Config {
	return Config{
		Preset:   supervisor.PresetDefault,
		StateDir: "/var/lib/understudy",
		TLS: TLS{
			CA:   "/etc/understudy/pki/ca.crt",
			Cert: "/etc/understudy/pki/{node}.crt",
			Key:  "/etc/understudy/pki/{node}.key",
		},
		ServiceAddress: ServiceAddress{
			Fence: "auto",
			Announce: Announce{
				Schedule: []Duration{0, ms(100), ms(500), ms(1000), ms(2000), ms(5000)},
				Refresh:  Duration(time.Minute),
			},
			ScriptTimeout: Duration(10 * time.Second),
		},
		SIPServer: SIPServer{Port: defaultPort, Transport: "udp", Rise: 2, HangAfter: ms(1500), BindWait: Duration(10 * time.Second)},
		Devices:   map[string]Device{}, Alarms: AlarmsConfig{Reactions: map[string]Reaction{}, Conditions: map[string]Condition{}},
		TLibNIC: true, SIPNIC: true, SIPIPTakeover: true,
		Traffic:          Traffic{Unanswered: Duration(time.Second)},
		NIC:              NIC{DownDelay: ms(20), Settle: Duration(2 * time.Second), GatewayEvery: Duration(time.Second), GatewayFall: 3},
		Contacts:         defaultContacts(),
		OnQuorumLoss:     Demote,
		SwitchoverBudget: Budget{Count: 3, Per: time.Hour},
		Hooks:            Hooks{Timeout: Duration(10 * time.Second)},
		API:              API{Socket: "/run/understudy/understudy.sock"},
		Log:              Log{Level: "info", Format: "console"},
	}
}

func ms(n int) Duration { return Duration(time.Duration(n) * time.Millisecond) }

// names lists the nodes, members first, each group by name.
func (c *Config) names() []supervisor.NodeID {
	var names []supervisor.NodeID
	for name := range c.Nodes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b supervisor.NodeID) int {
		if x, y := c.Nodes[a].Witness, c.Nodes[b].Witness; x != y {
			if y {
				return -1
			}
			return 1
		}
		if a < b {
			return -1
		}
		return 1
	})
	return names
}
