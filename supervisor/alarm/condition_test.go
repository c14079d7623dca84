package alarm

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

func validOptions() Options {
	o := DefaultOptions()
	o.Self, o.Nodes, o.Cluster, o.Proposer = "edge-a", []supervisor.NodeID{"edge-a", "edge-b", "wit-1"}, "sip-edge", proposer{}
	return o
}

// S4-30, S4-46, S4-52, S4-54: the built-in conditions are sound, and the numbered events are there.
func TestBuiltin(t *testing.T) {
	if _, err := New(validOptions()); err != nil {
		t.Fatal(err)
	}
	list := Builtin()
	list[0].Name = "changed"
	if Builtin()[0].Name == "changed" {
		t.Error("Builtin hands out its own list")
	}
	for _, c := range Builtin() {
		if c.Text == "" || c.Cancel == "" && c.CancelAfter == 0 {
			t.Errorf("%s: text %q; ends by neither event nor time", c.Name, c.Text)
		}
	}
	for name, want := range map[string]struct{ detect, cancel string }{
		"nic-down": {"00-52027", "00-52028"}, "vip-missing": {"00-52029", "00-52030"}, "vip-unexpected": {"00-52029", "00-52030"},
		"sip-listener-missing": {"00-04200", ""}, "sip-server-terminated": {"00-04200", ""}, "changed-to-primary": {"00-05150", ""},
		"changed-to-backup": {"00-05151", ""}, "connection-failure": {"00-04504", "00-04503"},
	} {
		i := slices.IndexFunc(list, func(c Condition) bool { return c.Name == name })
		if i < 0 || numbers[list[i].Detect] != want.detect || numbers[list[i].Cancel] != want.cancel {
			t.Errorf("%s: %+v", name, want)
		}
	}
}

// An operator's condition takes the place of the built-in one of its name, or comes on top.
func TestMerge(t *testing.T) {
	own := []Condition{{Name: "nic-down", Severity: critical, Detect: "00-52027"}, {Name: "mine", Severity: minor, Detect: "x"}}
	all := Merge(own)
	if len(all) != len(builtin)+1 || all[len(all)-1].Name != "mine" {
		t.Errorf("%d conditions", len(all))
	}
	if i := slices.IndexFunc(all, func(c Condition) bool { return c.Name == "nic-down" }); all[i].Severity != critical || all[i].Enabled {
		t.Errorf("%+v", all[i])
	}
	o := validOptions()
	o.Conditions = Merge(append(own, own...))
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "condition nic-down is there twice") || !strings.Contains(err.Error(), "condition mine is there twice") {
		t.Errorf("got %v", err)
	}
}

// All mistakes are told at once, each with its name.
func TestOptions_allProblems(t *testing.T) {
	o := validOptions()
	o.Self, o.Default = "edge-x", []string{"nobody"}
	o.Check = func(path string) error { return errors.New(path + " will not be run") }
	o.Conditions = []Condition{
		{Name: "NIC", Severity: "info", Detect: "", Cancel: "a b", CancelAfter: -time.Second, Reactions: []string{"none"}},
		{Name: "same", Severity: minor, Detect: "x", Cancel: "x", CancelAfter: 500 * 24 * time.Hour, Text: strings.Repeat("x", 600)},
	}
	o.Reactions = []Reaction{
		{Name: "two", Journal: &Journal{}, Exec: &Exec{Argv: []string{"relative"}}},
		{Name: "two", Where: "somewhere", Limit: time.Hour, Syslog: &Syslog{Network: "pigeon", Facility: 24}},
		{Name: "none-set"},
		{Name: "trap", SNMP: &SNMP{Target: "", Version: "v1", Base: "1.3.x"}},
		{Name: "trap3", SNMP: &SNMP{Target: "h", Version: "v3", Auth: "MD5", Priv: "DES"}},
		{Name: "am", Alertmanager: &Alertmanager{HTTP: HTTP{URL: "x"}, Labels: map[string]string{"a-b": ""}}},
	}
	_, err := New(o)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`node "edge-x"`, `no reaction "nobody"`, `severity "info"`, `detect ""`, `cancel "a b"`, "cancel-after -1s", `no reaction "none"`,
		"same event", "cancel-after 12000h", "600 octets", "2 kinds are set", "absolute path", "reaction two is there twice", `where "somewhere"`,
		"limit 1h", `network "pigeon"`, "facility 24", "0 kinds are set", `version "v1"`, `base "1.3.x"`, `auth "MD5"`, `priv "DES"`, "auth-file",
		"priv-file", `user ""`, `label "a-b"`, "http://",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in:\n%v", want, err)
		}
	}
}
