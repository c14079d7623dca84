package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

func ago(d time.Duration) *time.Time {
	at := noon.Add(-d)
	return &at
}

// sensing is a pair whose primary has every sensor, and nothing wrong.
func sensing() Input {
	in := healthy()
	up, ratio := true, 0.991342
	in.AddressUp = &up
	in.Devices = []Device{
		{Name: "trunk-1", URI: "sip:198.51.100.1", State: DeviceInService, Confirmed: true, Since: ago(time.Hour), Code: 200, RTTMS: 1.204, Text: "200 in 1.2ms"},
		{Name: "trunk-2", URI: "sip:198.51.100.2;transport=tcp", State: DeviceOutOfService, Confirmed: true, Since: ago(2 * time.Minute), Text: "no answer for 5s"},
		{Name: "gate", URI: "sip:198.51.100.3", State: DeviceUnchecked, Text: "not probed"},
	}
	in.Traffic = &Traffic{InPerS: 412, OutPerS: 398, LastInMS: 40, LastOutMS: 41, AnswerRatio: &ratio, Unanswered: 3, Source: SourceCapture}
	in.Silence = &Silence{Watched: true, PeriodMS: 35000, QuietMS: 40}
	in.NICs = []NIC{{Name: "sip-nic", Link: "eth1", Address: "192.0.2.11", Up: true, Text: "eth1 is up", Since: ago(time.Hour)}}
	in.Socket = &Socket{ReceiveQueue: 2304, ReceiveBuffer: 212992, Drops: 7, Listening: true}
	in.Alarms = []supervisor.Alarm{
		{ID: 7, Condition: "device-out-of-service", Object: "trunk-2", Severity: supervisor.SeverityMinor, Text: "a device does not answer",
			Node: "edge-a", First: noon.Add(-2 * time.Minute), Last: noon.Add(-time.Minute), Count: 3},
	}
	return in
}

func raised(id uint64, condition string, severity supervisor.Severity, before time.Duration) supervisor.Alarm {
	return supervisor.Alarm{ID: id, Condition: condition, Object: "edge-a", Severity: severity, EventID: "00-52027", Text: "no carrier on eth1",
		Evidence: "RTM_NEWLINK", Node: "edge-a", First: noon.Add(-before), Last: noon.Add(-before), Count: 1}
}

func sensingSituations() map[string]Input {
	all := map[string]Input{"sensing": sensing()}
	add := func(name string, f func(in *Input)) {
		in := sensing()
		f(&in)
		all[name] = in
	}
	add("silent primary", func(in *Input) {
		in.Silence.AllOut, in.Silence.QuietMS = true, 35000
		change(*in, "edge-a", func(h *Heard) { h.Reasons = []supervisor.Reason{supervisor.ReasonSilence} })
	})
	add("listener missing", func(in *Input) {
		in.Socket = &Socket{MissingMS: 3000}
		change(*in, "edge-a", func(h *Heard) { h.Reasons = []supervisor.Reason{supervisor.ReasonListener} })
	})
	add("listener missing, not yet a reason", func(in *Input) { in.Socket = &Socket{MissingMS: 120} })
	add("address away", func(in *Input) { *in.AddressUp = false })
	add("alarms", func(in *Input) {
		in.Alarms = append(in.Alarms, raised(8, "nic-down", supervisor.SeverityMajor, time.Minute), raised(9, "dual-owner", supervisor.SeverityCritical, time.Second),
			raised(10, "vip-missing", supervisor.SeverityMajor, 2*time.Second), raised(11, "sip-overload", supervisor.SeverityWarning, time.Second))
		ended := raised(6, "no-primary", supervisor.SeverityCritical, time.Hour)
		ended.ClearedAt = noon
		in.Alarms = append(in.Alarms, ended)
		in.Alarms[1].Acked = supervisor.AlarmAck{At: noon, By: "ann (root)", Note: "cable"}
		in.PendingAlarms = []supervisor.Alarm{raised(0, "quorum-lost", supervisor.SeverityCritical, time.Second)}
	})
	return all
}

// What the sensors found is said in sentences, and makes the verdict degraded if it is grave.
func TestBuild_facts(t *testing.T) {
	for name, in := range sensingSituations() {
		t.Run(name, func(t *testing.T) {
			s := Build(in)
			text := string(s.Verdict) + "\n! " + strings.Join(s.Problems, "\n! ") + "\n- " + strings.Join(s.Notes, "\n- ") + "\n"
			golden(t, "facts-"+strings.NewReplacer(" ", "-", ",", "").Replace(name)+".txt", text)
		})
	}
}

// The keys of the sensors' part, filled and empty: programs rely on them, and lists are never null.
func TestBuild_factsDocument(t *testing.T) {
	text, err := json.MarshalIndent(Build(sensingSituations()["alarms"]), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	_, facts, found := strings.Cut(string(text), "  \"address_up\"")
	if !found {
		t.Fatal("no address_up")
	}
	golden(t, "document-facts.json", "{\n  \"address_up\""+facts+"\n")
	empty, err := json.Marshal(Build(healthy()))
	if err != nil {
		t.Fatal(err)
	}
	want := `"address_up":null,"devices":[],"traffic":null,"silence":null,"nics":[],"socket":null,"alarms":[]}`
	if !strings.HasSuffix(string(empty), want) {
		t.Errorf("got %s, want it to end with %s", empty, want)
	}
}

// The time to the next trigger follows period and factor, and is -1 where the rule cannot fire (all devices have to be out of
// service, and this node primary).
func TestBuild_nextTrigger(t *testing.T) {
	for name, c := range map[string]struct {
		self    supervisor.NodeID
		silence Silence
		want    int64
	}{
		"half way":             {"edge-a", Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 1, QuietMS: 17500}, 17500},
		"doubled twice":        {"edge-a", Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 4, QuietMS: 40000}, 100000},
		"due":                  {"edge-a", Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}, 0},
		"no factor yet":        {"edge-a", Silence{Watched: true, AllOut: true, PeriodMS: 35000, QuietMS: 5000}, 30000},
		"a device in service":  {"edge-a", Silence{Watched: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}, -1},
		"not watched":          {"edge-a", Silence{AllOut: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}, -1},
		"backup":               {"edge-b", Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}, -1},
		"filled in by mistake": {"edge-a", Silence{Watched: true, PeriodMS: 35000, NextMS: 7}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			in.Self, in.Silence = c.self, &c.silence
			s := Build(in)
			if s.Silence.NextMS != c.want || s.Silence.Factor < 1 {
				t.Errorf("got %+v, want next %d", *s.Silence, c.want)
			}
		})
	}
}

// Two nodes with the same table show the same alarms in the same order, however they came by them. Build does not change its input.
func TestBuild_alarmOrder(t *testing.T) {
	in := sensingSituations()["alarms"]
	ratio := *in.Traffic.AnswerRatio
	first := Build(in).Alarms
	turned := in
	turned.Alarms = nil
	for i := len(in.Alarms) - 1; i >= 0; i-- {
		turned.Alarms = append(turned.Alarms, in.Alarms[i])
	}
	second := Build(turned).Alarms
	if len(first) != 6 || len(second) != 6 {
		t.Fatalf("got %d and %d alarms, want 6", len(first), len(second))
	}
	for i := range first {
		if first[i] != second[i] {
			t.Errorf("%d: got %s and %s", i, first[i].Condition, second[i].Condition)
		}
		if i > 0 && first[i].Severity.Rank() > first[i-1].Severity.Rank() {
			t.Errorf("%s is graver than what comes before it", first[i].Condition)
		}
	}
	if *in.Traffic.AnswerRatio != ratio {
		t.Error("Build has changed its input")
	}
}
