package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/alarm"
)

// AlarmsConfig says which alarms there are and whom they reach.
type AlarmsConfig struct {
	Default    []string             `key:"default" is:"name"` // reactions of conditions that name none
	Reactions  map[string]Reaction  `key:"reactions" is:"name"`
	Conditions map[string]Condition `key:"conditions" is:"name"`
}

// Reaction is one way to tell somebody. Kind says which of the other keys it has.
type Reaction struct {
	Kind      string   `key:"kind" need:"yes" oneof:"exec webhook alertmanager syslog journal snmp"`
	Where     string   `key:"where" oneof:"primary every raising"`
	Limit     Duration `key:"limit" min:"100ms" max:"10m"`
	Program   []string `key:"program" is:"command"`
	URL       string   `key:"url" is:"line"`
	TokenFile string   `key:"token-file" is:"path"`
	CAFile    string   `key:"ca-file" is:"path"`
	Network   string   `key:"network" oneof:"unix udp tcp tls"`
	Target    string   `key:"target" is:"line"`
	Facility  int      `key:"facility" min:"0" max:"23"`
	Version   string   `key:"version" oneof:"v2c v3"`
	Community string   `key:"community" is:"line"`
	User      string   `key:"user" is:"line"`
	Auth      string   `key:"auth" oneof:"SHA SHA-224 SHA-256 SHA-384 SHA-512"`
	AuthFile  string   `key:"auth-file" is:"path"`
	Priv      string   `key:"priv" oneof:"AES AES-192 AES-256"`
	PrivFile  string   `key:"priv-file" is:"path"`
	Base      string   `key:"base-oid" is:"line"`
}

func (r *Reaction) setDefaults() {
	r.Where, r.Limit, r.Network, r.Facility, r.Version = string(alarm.OnPrimary), Duration(alarm.DefaultLimit), "unix", 16, "v3"
	r.Auth, r.Priv, r.Base = "SHA-256", "AES", alarm.DefaultBase
}

// Condition is an alarm condition: a built-in one with changes, or one of the operator's own.
type Condition struct {
	Severity    string   `key:"severity" oneof:"critical major minor warning indeterminate"`
	Text        string   `key:"text" is:"line"`
	Detect      string   `key:"detect" is:"line"`
	Cancel      string   `key:"cancel" is:"line"`
	CancelAfter Duration `key:"cancel-after" min:"0s" max:"8784h"`
	Reactions   []string `key:"reactions" is:"name"`
	Clearance   []string `key:"clearance" is:"name"`
	Enabled     bool     `key:"enabled"`
}

func (c *Condition) setDefaults() { c.Enabled = true }

// alarmOptions gives what the alarm engine needs, without what it proposes to.
func (c Config) alarmOptions(self supervisor.NodeID) alarm.Options {
	o := alarm.DefaultOptions()
	o.Self, o.Nodes, o.Cluster, o.Default = self, c.names(), c.Cluster, c.Alarms.Default
	o.Exec = runReaction
	for _, name := range slices.Sorted(maps.Keys(c.Alarms.Reactions)) {
		o.Reactions = append(o.Reactions, c.Alarms.Reactions[name].reaction(name, self))
	}
	var own []alarm.Condition
	for _, name := range slices.Sorted(maps.Keys(c.Alarms.Conditions)) {
		own = append(own, c.Alarms.Conditions[name].condition(name))
	}
	o.Conditions = alarm.Merge(own)
	return o
}

func (r Reaction) reaction(name string, self supervisor.NodeID) alarm.Reaction {
	out := alarm.Reaction{Name: name, Where: alarm.Where(r.Where), Limit: time.Duration(r.Limit)}
	at := alarm.HTTP{URL: r.URL, TokenFile: forNode(r.TokenFile, self), CAFile: forNode(r.CAFile, self)}
	switch r.Kind {
	case "exec":
		out.Exec = &alarm.Exec{Argv: argvForNode(r.Program, self)}
	case "webhook":
		out.Webhook = &alarm.Webhook{HTTP: at}
	case "alertmanager":
		out.Alertmanager = &alarm.Alertmanager{HTTP: at}
	case "syslog":
		out.Syslog = &alarm.Syslog{Network: r.Network, Address: r.Target, Facility: r.Facility, CAFile: at.CAFile}
	case "journal":
		out.Journal = &alarm.Journal{}
	case "snmp":
		out.SNMP = &alarm.SNMP{
			Target: r.Target, Version: r.Version, Community: r.Community, User: r.User, Auth: r.Auth,
			AuthFile: forNode(r.AuthFile, self), Priv: r.Priv, PrivFile: forNode(r.PrivFile, self), Base: r.Base,
		}
	}
	return out
}

// condition fills what the operator left out from the built-in condition of that name.
func (c Condition) condition(name string) alarm.Condition {
	out := alarm.Condition{Name: name}
	for _, b := range alarm.Builtin() {
		if b.Name == name {
			out = b
		}
	}
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	severity := string(out.Severity)
	set(&severity, c.Severity)
	out.Severity = supervisor.Severity(severity)
	set(&out.Text, c.Text)
	set(&out.Detect, c.Detect)
	set(&out.Cancel, c.Cancel)
	if c.CancelAfter > 0 {
		out.CancelAfter = time.Duration(c.CancelAfter)
	}
	if c.Reactions != nil {
		out.Reactions = c.Reactions
	}
	if c.Clearance != nil {
		out.Clearance = c.Clearance
	}
	out.Enabled = c.Enabled
	return out
}

// checkAlarms has the engine judge what belongs together, and says where each problem is.
func (d *decoder) checkAlarms(c *Config) {
	if !d.fine("alarms") || !d.fine("nodes") || c.Cluster == "" {
		return
	}
	names := c.names()
	if len(names) == 0 {
		return
	}
	err := c.alarmOptions(names[0]).ValidateConfig()
	for _, e := range split(err) {
		path := "alarms"
		for section, prefix := range map[string]string{"alarms.conditions.": "condition ", "alarms.reactions.": "reaction "} {
			if rest, found := strings.CutPrefix(e.Error(), prefix); found {
				name, _, _ := strings.Cut(rest, ":")
				path = section + strings.TrimSpace(name)
			}
		}
		d.problem(path, "contrib/etc/understudy.yaml shows each kind", "%v", e)
	}
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	if _, wrapped := err.(interface{ Unwrap() error }); wrapped {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}
