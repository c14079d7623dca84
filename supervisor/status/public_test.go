package status

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

func public(t *testing.T, daemon Daemon, change ...func(*PublicOptions)) *Public {
	t.Helper()
	o := PublicOptions{Daemon: daemon, Logger: zap.NewNop(), Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "understudy_primary 1\n")
	})}
	for _, f := range change {
		f(&o)
	}
	p, err := NewPublic(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder
}

// Each probe path answers what it promises in every situation that the status tests know, with the reasons for a no.
func TestPublic_probes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the lease is counted by the clock: here it stands still
		all := situations()
		for name, in := range sensingSituations() {
			all[name] = in
		}
		for name, self := range map[string]supervisor.NodeID{"healthy": "edge-b", "witness": "wit-1", "leaving": "edge-b", "address failed": "edge-a",
			"not answering": "edge-a", "lease just ended": "edge-a", "draining": "edge-a"} {
			in := healthy()
			in.Self = self
			switch name {
			case "leaving":
				change(in, "edge-b", func(h *Heard) { h.Ready, h.Reasons = false, []supervisor.Reason{supervisor.ReasonLeaving} })
			case "address failed":
				change(in, "edge-a", func(h *Heard) { h.Reasons = []supervisor.Reason{supervisor.ReasonAddress} })
			case "not answering":
				in.Reports, in.Record, in.Leader = map[supervisor.NodeID]Heard{"edge-a": {}}, supervisor.Record{}, ""
			case "lease just ended":
				change(in, "edge-a", func(h *Heard) { h.LeaseLeft = 0 })
			case "draining":
				change(in, "edge-a", func(h *Heard) { h.Server = supervisor.View{Class: supervisor.ClassDraining, Code: 503, Text: "503"} })
			}
			all[name+" at "+string(self)] = in
		}
		var names []string
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		var text strings.Builder
		for _, name := range names {
			fmt.Fprintf(&text, "%s\n", name)
			daemon := &fake{in: all[name]}
			for _, path := range []string{"/primary", "/backup", "/ready", "/health", "/live"} {
				got := get(public(t, daemon).Handler(), "GET", path)
				var answer ProbeAnswer
				if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
					t.Fatal(err)
				}
				if answer.OK != (got.Code == 200) || answer.OK != (len(answer.Reasons) == 0) || answer.Reasons == nil {
					t.Errorf("%s, %s: %d with %+v", name, path, got.Code, answer)
				}
				fmt.Fprintf(&text, "  %-8s %d %s\n", path, got.Code, strings.Join(answer.Reasons, "; "))
			}
		}
		golden(t, "probes.txt", text.String())
	})
}

// Not more than one node says 200 on /primary in any situation in which a lease can say who is right.
func TestPublic_onePrimary(t *testing.T) {
	for name, in := range situations() {
		if name == "two primaries" { // two that both report a lease: there is no such pair
			continue
		}
		yes := 0
		for _, v := range in.Nodes {
			in.Self = v.ID
			if get(public(t, &fake{in: in}).Handler(), "GET", "/primary").Code == http.StatusOK {
				yes++
			}
		}
		if yes > 1 {
			t.Errorf("%s: %d nodes say that they are primary", name, yes)
		}
	}
}

// A yes never outlasts the lease, not even while it is reused or the daemon hangs after giving it: time counts from the question.
func TestPublic_leaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon := &slow{fake: newFake()}
		change(daemon.in, "edge-a", func(h *Heard) { h.LeaseLeft = 3 * time.Millisecond })
		h := public(t, daemon).Handler()
		if got := get(h, "GET", "/primary"); got.Code != http.StatusOK {
			t.Fatalf("got %d: %s", got.Code, got.Body)
		}
		time.Sleep(3 * time.Millisecond) // less than reuse
		got := get(h, "GET", "/primary")
		if got.Code != http.StatusServiceUnavailable || !strings.Contains(got.Body.String(), "has ended") || daemon.asked.Load() != 1 {
			t.Errorf("got %d after %d questions: %s", got.Code, daemon.asked.Load(), got.Body)
		}
		time.Sleep(reuse)
		daemon.takes = 3 * time.Millisecond
		if got := get(h, "GET", "/primary"); got.Code != http.StatusServiceUnavailable {
			t.Errorf("the answer took as long as the lease ran: got %d: %s", got.Code, got.Body)
		}
	})
}

// slow is a daemon that takes its time.
type slow struct {
	*fake
	takes time.Duration
	asked atomic.Int64
}

func (s *slow) Snapshot() Snapshot {
	s.asked.Add(1)
	now := s.fake.Snapshot() // what it knew before it hung
	time.Sleep(s.takes)
	return now
}

// However many ask, the daemon is asked once per 5 ms; while it hangs, everybody waits for at most two looks.
func TestPublic_looksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon := &slow{fake: newFake()}
		h := public(t, daemon).Handler()
		for range 10000 { // 10,000 in 100 ms
			get(h, "GET", "/primary")
			time.Sleep(10 * time.Microsecond)
		}
		if asked := daemon.asked.Load(); asked > 21 {
			t.Errorf("the daemon was asked %d times in 100 ms", asked)
		}
		daemon.takes = 2 * time.Second
		time.Sleep(time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				get(h, "GET", "/live")
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("100 requests took %v, want two looks", took)
		}
	})
}

// GET, HEAD and OPTIONS say the same; the last two without a body. Anything else is refused, and no path takes an order.
func TestPublic_methods(t *testing.T) {
	daemon := newFake()
	server := httptest.NewServer(public(t, daemon).Handler())
	defer server.Close()
	for _, c := range []struct {
		method, path string
		want         int
		body         bool
	}{
		{"GET", "/primary", 200, true}, {"HEAD", "/primary", 200, false}, {"OPTIONS", "/primary", 200, false},
		{"GET", "/backup", 503, true}, {"HEAD", "/backup", 503, false}, {"OPTIONS", "/backup", 503, false},
		{"GET", "/v1/status", 200, true}, {"HEAD", "/v1/status", 200, false}, {"OPTIONS", "/v1/status", 200, false},
		{"GET", "/metrics", 200, true}, {"GET", "/primary?x=1;y=2", 200, true},
		{"POST", "/primary", 405, true}, {"PUT", "/v1/status", 405, true}, {"DELETE", "/metrics", 405, true}, {"POST", "/v1/switchover", 405, true},
		{"GET", "/v1/switchover", 404, true}, {"GET", "/v1/pause", 404, true}, {"GET", "/", 404, true}, {"GET", "/primary/", 404, true},
		{"GET", "/../primary", 404, true}, {"GET", "//primary", 404, true},
	} {
		request, err := http.NewRequest(c.method, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.want || (len(body) > 0) != c.body {
			t.Errorf("%s %s: got %d and %d octets, want %d, body %v", c.method, c.path, response.StatusCode, len(body), c.want, c.body)
		}
	}
	if len(daemon.orders)+len(daemon.pauses)+len(daemon.by) > 0 {
		t.Error("an order came through")
	}
}

// The documents are those of the local API.
func TestPublic_documents(t *testing.T) {
	daemon := newFake()
	daemon.in = sensingSituations()["alarms"]
	local, err := New(daemon, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h := public(t, daemon).Handler()
	for _, path := range []string{"/v1/status", "/v1/history", "/v1/explain", "/v1/alarms"} {
		got, want := get(h, "GET", path), get(local.Handler(), "GET", path)
		if got.Code != 200 || !reflect.DeepEqual(got.Body.Bytes(), want.Body.Bytes()) {
			t.Errorf("%s: got %d\n%s\nwant\n%s", path, got.Code, got.Body, want.Body)
		}
	}
	daemon.in = healthy()
	daemon.in.Record.History = nil
	if got := get(h, "GET", "/v1/history").Body.String(); got != "{\"history\":[]}\n" {
		t.Errorf("no history: got %s", got)
	}
}

// A port for strangers tells yes or no and nothing else.
func TestPublic_probesOnly(t *testing.T) {
	h := public(t, newFake(), func(o *PublicOptions) { o.ProbesOnly = true }).Handler()
	for path, want := range map[string]int{"/primary": 200, "/backup": 503, "/live": 200, "/v1/status": 404, "/metrics": 404, "/": 404} {
		if got := get(h, "GET", path); got.Code != want || got.Body.Len() > 0 {
			t.Errorf("%s: got %d, %q, want %d without a word", path, got.Code, got.Body, want)
		}
	}
}

// Documents and metrics pages are rationed, so that a client gone mad costs little; probes are not.
func TestPublic_pagesAreRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := public(t, newFake()).Handler()
		count := func() (pages int) {
			for range 100 {
				switch got := get(h, "GET", "/v1/status"); got.Code {
				case http.StatusOK:
					pages++
				case http.StatusTooManyRequests:
					if got.Header().Get("Retry-After") != "1" {
						t.Error("no Retry-After")
					}
				}
				if got := get(h, "GET", "/primary"); got.Code != http.StatusOK {
					t.Fatalf("a probe got %d", got.Code)
				}
			}
			return pages
		}
		if got := count(); got != publicPages {
			t.Errorf("got %d pages at once, want %d", got, publicPages)
		}
		time.Sleep(500 * time.Millisecond)
		if got := count(); got != publicPages/2 {
			t.Errorf("got %d pages after half a second, want %d", got, publicPages/2)
		}
	})
}

// A probe that is answered from memory costs no look at the daemon.
func BenchmarkPublic_primary(b *testing.B) {
	p, err := NewPublic(PublicOptions{Daemon: newFake(), Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	h := p.Handler()
	request := httptest.NewRequest("GET", "/primary", nil)
	for b.Loop() {
		h.ServeHTTP(newRecorder(), request)
	}
}

func BenchmarkBuild(b *testing.B) {
	in := sensing()
	for b.Loop() {
		Build(in)
	}
}

// A probe over a connection that stays open, with all that HTTP costs.
func BenchmarkPublic_overTCP(b *testing.B) {
	p, err := NewPublic(PublicOptions{Daemon: newFake(), Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	for b.Loop() {
		response, err := http.Get(server.URL + "/primary")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
