package alarm

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 250e6, time.UTC)

func testAlarm() supervisor.Alarm {
	return supervisor.Alarm{
		ID: 7, Condition: "nic-down", Object: "edge-a", EventID: "00-52027", Severity: major, Text: `the "interface" [eth1] failed`,
		Evidence: "no carrier", Node: "edge-a", First: noon, Last: noon.Add(time.Second), Count: 3,
	}
}

func testOptions() *Options {
	return &Options{Self: "edge-b", Cluster: "sip-edge", Nodes: []supervisor.NodeID{"edge-a", "edge-b", "wit-1"}, Logger: zap.NewNop()}
}

func raised() Notice { return notice(testOptions(), begins, testAlarm(), false) }

func ended() Notice {
	a := testAlarm()
	a.ClearedAt, a.ClearedBy, a.Clearing = noon.Add(time.Minute), "ann", supervisor.AlarmCancelHand
	return notice(testOptions(), ends, a, false)
}

// private writes a file that only its owner may read.
func private(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The whole notice arrives, with the token, over TLS that is verified.
func TestWebhook_posts(t *testing.T) {
	var got Notice
	var header http.Header
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w := Webhook{HTTP{URL: server.URL, TokenFile: private(t, "s3cret\n"), CAFile: ca}}
	if err := w.validate(testOptions()); err != nil {
		t.Fatal(err)
	}
	if err := newWebhookSender(w).send(t.Context(), ended()); err != nil {
		t.Fatal(err)
	}
	if header.Get("Authorization") != "Bearer s3cret" || header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", header)
	}
	if got.Event != Cleared || got.Alarm.ID != 7 || got.Perceived != supervisor.SeverityCleared || got.Cluster != "sip-edge" || !strings.Contains(got.Why, "cleared by ann") {
		t.Errorf("%+v", got)
	}
	w.CAFile = ""
	if err := newWebhookSender(w).send(t.Context(), raised()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("believed a stranger: %v", err)
	}
}

// A place that hangs, fails or sends us elsewhere: who tries again, and who does not.
func TestWebhook_troubles(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			_, _ = io.Copy(io.Discard, r.Body)
			<-release
		case "/503":
			http.Error(w, "later\nmuch later", http.StatusServiceUnavailable)
		case "/429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/400":
			http.Error(w, "no such field", http.StatusBadRequest)
		case "/302":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/307":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/flood":
			_, _ = io.Copy(w, io.LimitReader(zeros{}, 64<<20))
		}
	}))
	defer server.Close()
	defer close(release)
	for path, want := range map[string]struct {
		permanent bool
		text      string
	}{
		"/hang": {false, "deadline"}, "/503": {false, "later"}, "/429": {false, "429"}, "/400": {true, "no such field"},
		"/302": {true, "redirects are not followed"}, "/307": {true, "redirects are not followed"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if path == "/hang" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		}
		err := newWebhookSender(Webhook{HTTP{URL: server.URL + path}}).send(ctx, raised())
		cancel()
		if err == nil || errors.Is(err, errPermanent) != want.permanent || !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "much later") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if elsewhere != 0 {
		t.Errorf("followed a redirect %d times", elsewhere)
	}
	if err := newWebhookSender(Webhook{HTTP{URL: server.URL + "/flood"}}).send(t.Context(), raised()); err != nil {
		t.Errorf("an endless answer: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Everything that is wrong with a place is said at once.
func TestHTTP_validate(t *testing.T) {
	open := private(t, "x")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		h    HTTP
		want string
	}{
		{HTTP{URL: "ftp://x"}, "http://"},
		{HTTP{URL: "https://"}, "host"},
		{HTTP{URL: "https://u:p@x/"}, "token-file"},
		{HTTP{URL: "http://x", TokenFile: private(t, "t")}, "without TLS"},
		{HTTP{URL: "https://x", TokenFile: open}, "chmod o="},
		{HTTP{URL: "https://x", TokenFile: private(t, "\n")}, "one line"},
		{HTTP{URL: "https://x", TokenFile: private(t, "a\nb")}, "one line"},
		{HTTP{URL: "https://x", TokenFile: "/nonexistent/t"}, "no such file"},
		{HTTP{URL: "https://x", CAFile: private(t, "t")}, "no PEM"},
	} {
		if err := c.h.validate(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), ":p@") {
			t.Errorf("%+v: %v, want %q", c.h, err, c.want)
		}
	}
	if err := (&HTTP{URL: "x", TokenFile: open, CAFile: open}).validate(); len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("%v", err)
	}
}

// alertServer is an Alertmanager that takes notes, without a network.
type alertServer struct {
	mu   sync.Mutex
	fail bool
	got  [][]alert
}

func (s *alertServer) RoundTrip(q *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody, Request: q}
	if s.fail || q.URL.Path != "/am/api/v2/alerts" {
		r.StatusCode, r.Status = http.StatusBadGateway, "502 Bad Gateway"
		return r, nil
	}
	var list []alert
	if err := json.NewDecoder(q.Body).Decode(&list); err != nil {
		return nil, err
	}
	s.got = append(s.got, list)
	return r, nil
}

func (s *alertServer) take() [][]alert {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

func newTestPush(t *testing.T, s *alertServer) *push {
	p := newPush(Reaction{Name: "am", Limit: time.Second, Alertmanager: &Alertmanager{HTTP: HTTP{URL: "https://am/am/"}, Labels: map[string]string{"site": "x"}}}, *testOptions())
	p.p.client.Transport = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// S4-34: alerts are sent at once, then every minute while active, and resolved; an end that is not taken is told again.
func TestAlertmanager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &alertServer{}
		p := newTestPush(t, server)
		a := testAlarm()
		a.First = time.Now()
		p.states([]supervisor.Alarm{a}, nil)
		got := server.take()
		if len(got) != 1 || len(got[0]) != 1 {
			t.Fatalf("%+v", got)
		}
		first := got[0][0]
		if first.Labels["alertname"] != "nic-down" || first.Labels["site"] != "x" || first.Labels["severity"] != "major" || first.Labels["event_id"] != "00-52027" ||
			!first.StartsAt.Equal(a.First) || !first.EndsAt.Equal(time.Now().Add(alertLasts)) || first.Annotations["summary"] != a.Text {
			t.Errorf("%+v", first)
		}
		time.Sleep(5*time.Minute + time.Second)
		got = server.take()
		if len(got) != 5 || got[4][0].Labels["alertname"] != "nic-down" || !got[4][0].EndsAt.After(time.Now()) {
			t.Errorf("%d times in five minutes", len(got))
		}
		server.mu.Lock()
		server.fail = true
		server.mu.Unlock()
		a.ClearedAt = time.Now()
		p.states(nil, []supervisor.Alarm{a})
		time.Sleep(30 * time.Second)
		server.mu.Lock()
		server.fail = false
		server.mu.Unlock()
		time.Sleep(2 * time.Minute)
		got = server.take()
		if len(got) != 1 || len(got[0]) != 1 || !got[0][0].EndsAt.Equal(a.ClearedAt) {
			t.Errorf("resolved: %+v", got)
		}
		for name, value := range first.Labels {
			if got[0][0].Labels[name] != value {
				t.Errorf("label %s changed: it would be another alert", name)
			}
		}
	})
}

// A node that is primary no more falls silent about alarms that are still active: the new one tells of them.
func TestAlertmanager_roleMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &alertServer{}
		p := newTestPush(t, server)
		p.states([]supervisor.Alarm{testAlarm()}, nil)
		server.take()
		p.states(nil, nil)
		time.Sleep(time.Hour)
		if got := server.take(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Through an outage of hours the ends that wait stay bounded, and pauses grow.
func TestAlertmanager_outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &alertServer{fail: true}
		p := newTestPush(t, server)
		for i := range 1000 {
			a := testAlarm()
			a.ID, a.Object = uint64(i), time.Duration(i).String()
			p.states([]supervisor.Alarm{a}, nil)
			a.ClearedAt = time.Now()
			p.states(nil, []supervisor.Alarm{a})
		}
		p.mu.Lock()
		if len(p.resolved) > resolveLimit {
			t.Errorf("%d ends wait", len(p.resolved))
		}
		p.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.resolved) != 0 {
			t.Errorf("%d ends wait after an hour", len(p.resolved))
		}
	})
}

// The engine and a real HTTP server together: raise, resend, resolve.
func TestEngine_alertmanager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &alertServer{}
		p := newPair(t, func(o *Options) {
			o.Reactions = []Reaction{{Name: "am", Alertmanager: &Alertmanager{HTTP: HTTP{URL: "https://am/am"}}}}
			o.Default = []string{"am"}
		})
		for _, e := range p.engines {
			e.outlets["am"].(*push).p.client.Transport = server
		}
		p.engines["edge-b"].Post(Event{Name: "nic-down"})
		settle()
		p.move("edge-b")
		settle()
		got := server.take()
		if len(got) != 2 || got[1][0].Labels["alertname"] != "nic-down" || got[0][0].StartsAt != got[1][0].StartsAt {
			t.Fatalf("once from each primary: %+v", got)
		}
		p.engines["edge-b"].Post(Event{Name: "nic-up"})
		settle()
		got = server.take()
		if len(got) != 1 || got[0][0].EndsAt.After(time.Now()) {
			t.Fatalf("resolved: %+v", got)
		}
		p.cutOff(true, "edge-b")
		p.engines["edge-b"].Post(Event{Name: "quorum-lost", Object: "pair"})
		time.Sleep(6 * time.Second)
		if got = server.take(); len(got) != 1 || got[0][0].Labels["alertname"] != "quorum-lost" {
			t.Fatalf("without a majority: %+v", got)
		}
	})
}
