package registrar

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

var testBegin = time.Now()

// testNow is a clock that did not begin with the tests.
func testNow() time.Duration { return time.Since(testBegin) + time.Hour }

func in(seconds int) time.Duration { return testNow() + time.Duration(seconds)*time.Second }

// binding is one of a phone at home, behind NAT and a proxy at its edge.
func binding(user string) location.Binding {
	return location.Binding{
		Contact: "sip:" + user + "@192.0.2.7:5062", Q: 700, CallID: user + "-1@192.0.2.7", CSeq: 41, UserAgent: "Phone (2.0) \"x\" & <y>",
		Received: "sip:203.0.113.9:31987", Methods: location.AllMethods, Branch: 1, Expires: in(300),
	}
}

// equal compares what has been asked for with what was written.
func equal(t *testing.T, got, want []location.Binding) {
	t.Helper()
	sort := func(b []location.Binding) []location.Binding {
		return slices.SortedFunc(slices.Values(b), func(x, y location.Binding) int { return strings.Compare(x.Contact+x.CallID, y.Contact+y.CallID) })
	}
	got, want = sort(got), sort(want)
	if len(got) != len(want) {
		t.Fatalf("got %d bindings, want %d:\n%+v\n%+v", len(got), len(want), got, want)
	}
	for i := range got {
		if !sameTime(&got[i], &want[i]) {
			t.Errorf("%s ends in %v, want %v", got[i].Contact, got[i].Expires-testNow(), want[i].Expires-testNow())
		}
		g := got[i]
		g.Expires = want[i].Expires
		if g != want[i] {
			t.Errorf("got\n%+v, want\n%+v", g, want[i])
		}
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// watching runs Watch until the test ends and gives the hints.
func watching(t *testing.T, s Server) <-chan Hint {
	t.Helper()
	hints := make(chan Hint, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Watch(ctx, func(h Hint) { hints <- h }); ctx.Err() == nil {
			t.Errorf("the watch ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the watch does not end")
		}
	})
	return hints
}

func hinted(t *testing.T, hints <-chan Hint, want Hint) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-hints:
			if got.AOR == "" { // of a test that asks whether anyone listens
				continue
			}
			if got.AOR != want.AOR || got.CallID != want.CallID || got.CSeq != want.CSeq || got.Known {
				t.Errorf("got %+v, want %+v", got, want)
			}
			return
		case <-deadline:
			t.Fatalf("not heard of %+v", want)
		}
	}
}

// eventually waits for what a server does when it gets around to it.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}
