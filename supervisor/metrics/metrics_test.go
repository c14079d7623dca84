package metrics

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// pair is what the primary of a pair knows that has every sensor.
func pair() status.Input {
	serving := supervisor.View{Class: supervisor.ClassServing, Code: 200, RTT: 312 * time.Microsecond, Text: "200 in 0.3ms"}
	dead := supervisor.View{Class: supervisor.ClassDead, Text: "no answer for 350ms"}
	report := func(id supervisor.NodeID, state supervisor.State) supervisor.Report {
		return supervisor.Report{Node: id, Epoch: 41, State: state, Ready: state != supervisor.Witnessing, Service: serving, ConfigHash: "9f31",
			Version: "0.1.0", Fence: supervisor.FenceNftables, Members: map[supervisor.NodeID]supervisor.View{}}
	}
	a, b, w := report("edge-a", supervisor.Serving), report("edge-b", supervisor.Following), report("wit-1", supervisor.Witnessing)
	a.Server, b.Server, a.LeaseLeft = serving, serving, 142*time.Millisecond
	a.Members["edge-b"], b.Members["edge-a"], w.Members["edge-a"], w.Members["edge-b"] = serving, serving, serving, dead
	b.ConfigHash, w.Service = "0000", supervisor.View{}
	up, ratio, since := true, 0.9913, noon.Add(-time.Hour)
	return status.Input{
		Cluster: "sip-edge", Self: "edge-a", Now: noon, Preset: supervisor.PresetDefault, Stale: 2 * time.Second,
		Budget: supervisor.Budget{Count: 3, Per: time.Hour}, Addresses: []string{"203.0.113.10/32", "2001:db8::10/128"},
		Nodes: []status.Voter{
			{Node: supervisor.Node{ID: "edge-a"}}, {Node: supervisor.Node{ID: "edge-b"}}, {Node: supervisor.Node{ID: "wit-1", Witness: true}},
		},
		Leader: "edge-a",
		Record: supervisor.Record{Epoch: 41, Primary: "edge-a", Since: noon.Add(-28 * time.Hour)},
		Reports: map[supervisor.NodeID]status.Heard{
			"edge-a": {Report: a}, "edge-b": {Report: b, Age: 200 * time.Millisecond}, "wit-1": {Report: w, Age: 400 * time.Millisecond},
		},
		AddressUp: &up,
		Devices: []status.Device{
			{Name: "trunk-1", State: status.DeviceInService, RTTMS: 1.204, Since: &since},
			{Name: "trunk-2", State: status.DeviceOutOfService}, {Name: "trunk-3", State: status.DeviceFailed}, {Name: "gate", State: status.DeviceUnchecked},
		},
		Traffic: &status.Traffic{InPerS: 412, OutPerS: 398, LastInMS: 40, LastOutMS: -1, AnswerRatio: &ratio, Unanswered: 3, ParseErrors: 5, Dropped: 6,
			Source: status.SourceCapture},
		Silence: &status.Silence{Watched: true, PeriodMS: 35000, Factor: 2},
		NICs:    []status.NIC{{Name: "sip-nic", Up: true}, {Name: "tlib-nic"}},
		Socket:  &status.Socket{ReceiveQueue: 2304, ReceiveBuffer: 212992, Drops: 7, Listening: true},
		Alarms: []supervisor.Alarm{
			{ID: 7, Condition: "device-out-of-service", Object: "trunk-2", Severity: supervisor.SeverityMinor},
			{ID: 8, Condition: "device-out-of-service", Object: "trunk-3", Severity: supervisor.SeverityMinor},
			{ID: 9, Condition: "nic-down", Object: "edge-a", Severity: supervisor.SeverityMajor},
		},
	}
}

var counters = Counters{
	MessagesIn:  map[string]uint64{"INVITE": 10, "REGISTER": 2000, "2xx": 9, "x\xffy": 2, "FOO": 3},
	MessagesOut: map[string]uint64{}, HooksDropped: 4,
}

var contacts = status.Contacts{
	ByNode: map[supervisor.NodeID]int{"edge-a": 812, "edge-b": 5}, Connections: 30, InSync: true, Behind: 2,
	LagMS: status.ContactLag{Median: 6, P99: 11, Max: 40}, SentBytes: 18204, GotBytes: 960, Learned: 900, Told: 5, Failed: 1,
}

// fixed gives the metrics of a source that always says the same.
func fixed(t *testing.T, s Sample) *Metrics {
	t.Helper()
	return asking(t, func() Sample { return s })
}

// asking gives the metrics of a source.
func asking(t *testing.T, source Source) *Metrics {
	t.Helper()
	m, err := New(Options{Cluster: "sip-edge", Node: "edge-a", Version: "0.1.0", Revision: "abc1234", Source: source, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape asks for the page as Prometheus does and parses it.
func scrape(t *testing.T, m *Metrics) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("got %d: %s", recorder.Code, recorder.Body)
	}
	text := recorder.Body.String()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families, text
}

// value finds a series by its labels.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	t.Helper()
	f := families["understudy_"+name]
	if f == nil {
		return 0, false
	}
	for _, m := range f.Metric {
		has := func(i int) bool {
			return slices.ContainsFunc(m.Label, func(p *dto.LabelPair) bool { return p.GetName() == labels[i] && p.GetValue() == labels[i+1] })
		}
		all := true
		for i := 0; i < len(labels); i += 2 {
			all = all && has(i)
		}
		if all {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

// The page of a primary with every sensor, line by line, and the linter of Prometheus has nothing against it.
func TestMetrics_page(t *testing.T) {
	families, text := scrape(t, fixed(t, Sample{Snapshot: status.Build(pair()), Counters: counters, Contacts: &contacts}))
	var ours []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "understudy_") && !strings.Contains(line, "build_info{") {
			ours = append(ours, line)
		}
	}
	golden(t, "testdata/page.txt", strings.Join(ours, ""))
	if _, ok := value(t, families, "build_info", "version", "0.1.0", "revision", "abc1234", "goversion", goVersion, "node", "edge-a"); !ok {
		t.Error("no build_info")
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "process_start_time_seconds"} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "understudy_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Every name that is described is on the page of one of these nodes, and all series of ours have cluster and node.
func TestMetrics_allNamesAreFilled(t *testing.T) {
	families, _ := scrape(t, fixed(t, Sample{Snapshot: status.Build(pair()), Counters: counters, Contacts: &contacts}))
	for name, labels := range described() {
		f := families[name]
		if f == nil {
			t.Errorf("%s is never filled", name)
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(labels, l.GetName()) {
					t.Errorf("%s has an undescribed label %s", name, l.GetName())
				}
			}
			if len(m.Label) != len(labels) {
				t.Errorf("%s has %d labels, want %v", name, len(m.Label), labels)
			}
		}
	}
}

// described gives the names of all our metrics with their labels.
func described() map[string][]string {
	all := map[string][]string{}
	for _, d := range newNames("c", "n").all {
		text := d.String() // Desc{fqName: "x", help: "...", constLabels: {...}, variableLabels: {a,b}}
		_, rest, _ := strings.Cut(text, `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		_, rest, _ = strings.Cut(text, "variableLabels: {")
		variable, _, _ := strings.Cut(rest, "}")
		labels := []string{"cluster", "node"}
		if variable != "" {
			labels = append(labels, strings.Split(variable, ",")...)
		}
		all[name] = labels
	}
	return all
}

// A fact that a node does not have makes no series, rather than one that is 0: a witness has no server, a backup checks no devices, a
// node that has just started knows nothing.
func TestMetrics_absent(t *testing.T) {
	bare := pair()
	bare.AddressUp, bare.Devices, bare.Traffic, bare.Silence, bare.NICs, bare.Socket, bare.Alarms = nil, nil, nil, nil, nil, nil, nil
	never := bare
	never.Record, never.Reports = supervisor.Record{}, map[supervisor.NodeID]status.Heard{"edge-a": {}}
	sensors := []string{"device_up", "device_rtt_seconds", "nic_up", "socket_drops_total", "vip_present", "backoff_multiplier", "alarm_active",
		"sip_answer_ratio", "sip_messages_total", "sip_last_message_timestamp_seconds", "sip_parse_errors_total"}
	for name, c := range map[string]struct {
		in     status.Input
		absent []string
		zero   []string
	}{
		"no sensors": {bare, sensors, []string{"paused"}},
		"new":        {never, append(sensors, "role_last_change_timestamp_seconds", "probe_up", "config_mismatch"), []string{"primary", "role_epoch", "peer_up", "ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			families, _ := scrape(t, fixed(t, Sample{Snapshot: status.Build(c.in)}))
			for _, n := range c.absent {
				if families["understudy_"+n] != nil {
					t.Errorf("there is %s", n)
				}
			}
			for _, n := range c.zero {
				if got, ok := value(t, families, n); !ok || got != 0 {
					t.Errorf("%s: got %v, %v, want 0", n, got, ok)
				}
			}
		})
	}
	t.Run("witness", func(t *testing.T) {
		in := bare
		in.Self = "wit-1"
		m, err := New(Options{Cluster: "sip-edge", Node: "wit-1", Version: "1", Source: func() Sample { return Sample{Snapshot: status.Build(in)} },
			Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		families, _ := scrape(t, m)
		if got, ok := value(t, families, "role", "role", "witness"); !ok || got != 1 {
			t.Errorf("role: got %v, %v", got, ok)
		}
		for _, n := range []string{"ready", "vip_expected"} {
			if families["understudy_"+n] != nil {
				t.Errorf("there is %s", n)
			}
		}
	})
}

// A primary is one with a lease that runs: never one that holds on without (on-quorum-loss: hold).
func TestMetrics_primaryNeedsLease(t *testing.T) {
	in := pair()
	h := in.Reports["edge-a"]
	h.State, h.LeaseLeft = supervisor.Clinging, 0
	in.Reports["edge-a"] = h
	families, _ := scrape(t, fixed(t, Sample{Snapshot: status.Build(in)}))
	if got, _ := value(t, families, "primary"); got != 0 {
		t.Errorf("primary: got %v", got)
	}
	if got, _ := value(t, families, "role", "role", "primary"); got != 1 {
		t.Errorf("role: got %v", got)
	}
}

// Switchovers count by cause as the record grows: each once, none from before the process started, none that moved nothing.
func TestMetrics_switchovers(t *testing.T) {
	now := time.Now()
	line := func(epoch supervisor.Epoch, at time.Duration, from, to supervisor.NodeID, trigger supervisor.Trigger) supervisor.Switchover {
		return supervisor.Switchover{Epoch: epoch, At: now.Add(at), From: from, To: to, Trigger: trigger}
	}
	var mu sync.Mutex
	var history []supervisor.Switchover
	m := asking(t, func() Sample {
		mu.Lock()
		defer mu.Unlock()
		return Sample{Snapshot: status.Build(pair()), History: history}
	})
	expect := func(server, operator float64) {
		t.Helper()
		families, _ := scrape(t, m)
		for trigger, want := range map[string]float64{"sip-server": server, "operator": operator, "nic": 0} {
			if got, ok := value(t, families, "switchovers_total", "trigger", trigger); !ok || got != want {
				t.Errorf("%s: got %v, %v, want %v", trigger, got, ok, want)
			}
		}
	}
	expect(0, 0)
	history = append(history, line(39, -2*time.Hour, "edge-a", "edge-b", supervisor.TriggerServer)) // the record is applied
	expect(0, 0)
	history = append(history, line(40, time.Minute, "edge-b", "edge-a", supervisor.TriggerServer), line(41, 2*time.Minute, "edge-a", "edge-a", supervisor.TriggerServer),
		line(42, 3*time.Minute, "edge-a", "edge-b", supervisor.TriggerOperator))
	expect(1, 1)
	expect(1, 1)
	history = append(history[3:], line(43, 4*time.Minute, "edge-b", "edge-a", supervisor.TriggerServer)) // the oldest fall out of the record
	expect(2, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _ = m.Registry().Gather() })
	}
	wg.Wait()
	expect(2, 1)
}

// Names that Prometheus does not take, or has already, cost their series and not the page.
func TestMetrics_strangeNames(t *testing.T) {
	in := pair()
	in.Devices = []status.Device{
		{Name: "a\xffb", State: status.DeviceInService}, {Name: "same", State: status.DeviceInService}, {Name: "same", State: status.DeviceFailed},
		{Name: "quote\"\n{}", State: status.DeviceInService},
	}
	families, _ := scrape(t, fixed(t, Sample{Snapshot: status.Build(in)}))
	if got := len(families["understudy_device_up"].GetMetric()); got != 3 {
		t.Errorf("got %d series, want 3", got)
	}
	if got, ok := value(t, families, "device_up", "device", "a?b"); !ok || got != 1 {
		t.Errorf("a?b: got %v, %v", got, ok)
	}
}

// Nothing that messages say becomes a label: unknown kinds are one.
func TestMetrics_kindsAreBounded(t *testing.T) {
	many := map[string]uint64{"INVITE": 1}
	for i := range 1000 {
		many[fmt.Sprintf("METHOD%d", i)] = 1
	}
	families, _ := scrape(t, fixed(t, Sample{Snapshot: status.Build(pair()), Counters: Counters{MessagesIn: many}}))
	if got := len(families["understudy_sip_messages_total"].GetMetric()); got != len(kinds) {
		t.Errorf("got %d series, want %d", got, len(kinds))
	}
	if got, _ := value(t, families, "sip_messages_total", "kind", "other", "direction", "in"); got != 1000 {
		t.Errorf("other: got %v", got)
	}
}

// Between scrapes the source is left alone: a node that nobody asks pays nothing.
func TestMetrics_onlyWhenAsked(t *testing.T) {
	asked := 0
	m := asking(t, func() Sample {
		asked++
		return Sample{Snapshot: status.Build(pair())}
	})
	if asked != 0 {
		t.Errorf("asked %d times before a scrape", asked)
	}
	scrape(t, m)
	if asked != 1 {
		t.Errorf("asked %d times in a scrape", asked)
	}
}

// OpenMetrics is spoken to those who ask for it.
func TestMetrics_openMetrics(t *testing.T) {
	request := httptest.NewRequest("GET", "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	recorder := httptest.NewRecorder()
	fixed(t, Sample{Snapshot: status.Build(pair())}).Handler().ServeHTTP(recorder, request)
	if text := recorder.Body.String(); recorder.Code != 200 || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("got %d, ... %q", recorder.Code, text[max(0, len(text)-20):])
	}
}

func TestNew_refuses(t *testing.T) {
	good := Options{Cluster: "c", Node: "n", Source: func() Sample { return Sample{} }, Logger: zap.NewNop()}
	for name, change := range map[string]func(*Options){
		"cluster": func(o *Options) { o.Cluster = "" }, "node": func(o *Options) { o.Node = "" },
		"source": func(o *Options) { o.Source = nil }, "logger": func(o *Options) { o.Logger = nil },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// A scrape with 200 devices, without the Go and process collectors.
func BenchmarkCollect(b *testing.B) {
	in := pair()
	for i := range 200 {
		in.Devices = append(in.Devices, status.Device{Name: fmt.Sprint("d", i), State: status.DeviceInService, RTTMS: 1})
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(Options{Cluster: "c", Node: "edge-a", Source: func() Sample {
		return Sample{Snapshot: status.Build(in), Counters: counters}
	}}, noon))
	for b.Loop() {
		if _, err := r.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
