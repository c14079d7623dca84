package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

func ago(d time.Duration) *time.Time {
	at := noon.Add(-d)
	return &at
}

// sensing is a pair whose primary has every sensor, and a device out of service.
func sensing() status.Input {
	in := pair()
	up, ratio := true, 0.9913
	in.AddressUp = &up
	in.Devices = []status.Device{
		{Name: "trunk-1", State: status.DeviceInService, Confirmed: true, Since: ago(time.Hour), Code: 200, Text: "200 in 1.2ms"},
		{Name: "trunk-2", State: status.DeviceOutOfService, Confirmed: true, Since: ago(2 * time.Minute), Text: "no answer for 5s"},
		{Name: "trunk-3", State: status.DeviceInService, Text: "no answer yet"},
		{Name: "media", State: status.DeviceInService, Confirmed: true, Text: "200 in 1.2ms"},
		{Name: "phone", State: status.DeviceUnchecked},
	}
	in.Traffic = &status.Traffic{InPerS: 412, OutPerS: 398, LastInMS: 40, LastOutMS: 41, AnswerRatio: &ratio, Unanswered: 3, Source: status.SourceCapture}
	in.Silence = &status.Silence{Watched: true, PeriodMS: 35000, Factor: 1, QuietMS: 40}
	in.NICs = []status.NIC{{Name: "sip-nic", Link: "eth1", Up: true, Text: "eth1 is up", Since: ago(time.Hour)}}
	in.Socket = &status.Socket{ReceiveQueue: 2304, ReceiveBuffer: 212992, Listening: true}
	return in
}

func raised(id uint64, condition, object string, severity supervisor.Severity, text string, age time.Duration, count int) supervisor.Alarm {
	return supervisor.Alarm{ID: id, Condition: condition, Object: object, Severity: severity, Text: text, Node: "edge-a", First: noon.Add(-age), Last: noon, Count: count}
}

// alarming is one in which all is wrong that can be, with texts that would play with a terminal.
func alarming() status.Input {
	in := sensing()
	for i := range in.Devices {
		if in.Devices[i].State == status.DeviceInService {
			in.Devices[i].State, in.Devices[i].Since, in.Devices[i].Text = status.DeviceFailed, ago(90*time.Second), "503 to a request, retry after 30s"
		}
	}
	in.Traffic = &status.Traffic{LastInMS: 48000, LastOutMS: -1, Unanswered: 120, Dropped: 77, ParseErrors: 1203, Source: status.SourceHEP}
	in.Silence = &status.Silence{Watched: true, PeriodMS: 35000, Factor: 2, QuietMS: 48000, AllOut: true}
	in.NICs = append(in.NICs, status.NIC{Name: "tlib-nic", Link: "eth0", Text: "no carrier on eth0 \x1b[2J", Since: ago(12 * time.Second)},
		status.NIC{Name: "eth2", Link: "eth2", Up: true, Flapping: true, Text: "eth2 changed 9 times in 10s"})
	in.Socket = &status.Socket{ReceiveQueue: 190000, ReceiveBuffer: 212992, Drops: 4096, Backlog: 12, Listening: true}
	in.Alarms = []supervisor.Alarm{
		raised(3, "device-out-of-service", "trunk-2", supervisor.SeverityMinor, "a device does not answer", 2*time.Minute, 4),
		raised(4, "nic-down", "edge-a/eth0", supervisor.SeverityMajor, "no carrier on eth0, which carries the node address of edge-a and the link to its peer \x1b[2J", 12*time.Second, 1),
		raised(5, "dual-owner", "203.0.113.10", supervisor.SeverityCritical, "52:54:00:12:34:56 claims the service address", time.Second, 1),
	}
	over := raised(2, "sip-path", "sip-edge", supervisor.SeverityWarning, "wit-1 gets no answer from the service address, edge-b does", 5*time.Minute, 2)
	over.ClearedAt, over.ClearedBy, over.Clearing, over.ClearNote = *ago(4 * time.Minute), "ann (root)", supervisor.AlarmCancelHand, "cable"
	in.Alarms = append(in.Alarms, over)
	in.Alarms[0].Acked = supervisor.AlarmAck{At: noon, By: "ann (root)"}
	in.PendingAlarms = []supervisor.Alarm{raised(0, "quorum-degraded", "edge-a", supervisor.SeverityWarning, "one of three nodes is missing", 3*time.Second, 1)}
	return in
}

// The sensors' part of the screen: quiet while all is well, within 100 columns whatever there is to say.
func TestRenderStatus_facts(t *testing.T) {
	crowd := alarming()
	for i := range 30 {
		crowd.Devices = append(crowd.Devices, status.Device{Name: fmt.Sprintf("trunk-%02d", i), State: status.DeviceOutOfService, Since: ago(time.Minute), Text: "refused"})
		crowd.Alarms = append(crowd.Alarms, raised(uint64(10+i), "device-out-of-service", fmt.Sprintf("trunk-%02d", i), supervisor.SeverityMinor, "refused", time.Minute, 1))
	}
	alone := sensing()
	alone.Alarms = alarming().Alarms[1:]
	for name, in := range map[string]status.Input{"sensing": sensing(), "alarming": alarming(), "crowd": crowd, "alarms": alone} {
		t.Run(name, func(t *testing.T) {
			s := status.Build(in)
			text := renderStatus(s, time.UTC)
			golden(t, "testdata/status-"+name+".txt", text)
			if strings.Contains(text, "\x1b") {
				t.Error("an escape sequence came through")
			}
			for line := range strings.Lines(alarmsTable(s) + strings.Join(factsLines(s), "\n")) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > screenWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

// Each line says how things are, and is not there when there is nothing to say.
func TestRenderStatus_factLines(t *testing.T) {
	silence := func(q status.Silence) func(*status.Input) {
		return func(in *status.Input) { in.Silence = &q }
	}
	devices := func(d ...status.Device) func(*status.Input) { return func(in *status.Input) { in.Devices = d } }
	for name, c := range map[string]struct {
		change func(*status.Input)
		want   string
	}{
		"no sensors":         {func(*status.Input) {}, ""},
		"silence in 58s":     {silence(status.Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 2, QuietMS: 12000}), "Silence: nothing for 12s and every device is out: the role moves in 58s, after 1m 10s (35s x2)"},
		"silence due":        {silence(status.Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}), "Silence: nothing for 36s and every device is out: the role is to move after 35s"},
		"silence impossible": {silence(status.Silence{Watched: true, PeriodMS: 35000, Factor: 1, QuietMS: 36000}), "Silence: would move the role after 35s, but a device is in service"},
		"silence at the backup": {func(in *status.Input) {
			in.Self = "edge-b"
			in.Silence = &status.Silence{Watched: true, AllOut: true, PeriodMS: 35000, Factor: 1}
		}, "Silence: every device is out: as primary edge-b would give the role up after 35s"},
		"silence unwatched": {silence(status.Silence{AllOut: true, PeriodMS: 35000}), ""},
		"devices of a backup": {devices(status.Device{Name: "a", State: status.DeviceUnchecked}, status.Device{Name: "b", State: status.DeviceUnchecked}),
			"Devices: 2, none is checked from here"},
		"devices well":   {devices(status.Device{Name: "a", State: status.DeviceInService, Confirmed: true}), "Devices: 1 of 1 in service"},
		"device unheard": {devices(status.Device{Name: "a", State: status.DeviceOutOfService}), "Devices: 0 of 1 in service: a out"},
		"no traffic yet": {func(in *status.Input) { in.Traffic = &status.Traffic{LastInMS: -1, LastOutMS: -1} }, "Traffic at edge-a: in 0/s, out 0/s, nothing came in yet"},
		"listener gone":  {func(in *status.Input) { in.Socket = &status.Socket{MissingMS: 3000} }, "SIP socket at edge-a: nothing has been listening for 3s"},
		"socket well": {func(in *status.Input) {
			in.Socket = &status.Socket{ReceiveQueue: 2304, ReceiveBuffer: 212992, Listening: true}
		}, ""},
		"socket filling": {func(in *status.Input) {
			in.Socket = &status.Socket{ReceiveQueue: 60000, ReceiveBuffer: 212992, Listening: true}
		}, "SIP socket at edge-a: 28 % full"},
	} {
		t.Run(name, func(t *testing.T) {
			in := pair()
			c.change(&in)
			if got := strings.Join(factsLines(status.Build(in)), "\n"); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
