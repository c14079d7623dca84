package vip

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Every mistake is named, all at once.
func TestNew_refuses(t *testing.T) {
	good := options(newReports())
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"no service address":       func(o *Options) { o.Addresses = nil },
		"is invalid":               func(o *Options) { o.Addresses = []netip.Prefix{{}} },
		"given twice":              func(o *Options) { o.Addresses = []netip.Prefix{vip4, netip.MustParsePrefix("10.77.0.100/24")} },
		"can't be one":             func(o *Options) { o.Addresses = []netip.Prefix{netip.MustParsePrefix("224.0.0.1/32")} },
		"must be plain":            func(o *Options) { o.Addresses = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.1/128")} },
		"interface name":           func(o *Options) { o.Interface = "a-name-that-is-too-long" },
		"cluster has no name":      func(o *Options) { o.Cluster = "" },
		"unknown fence":            func(o *Options) { o.Fence = "fancy" },
		"lease of 10ms":            func(o *Options) { o.Lease = 10 * time.Millisecond },
		"does not ascend":          func(o *Options) { o.Announce.Schedule = []time.Duration{time.Second, 0} },
		"refresh of 1ms":           func(o *Options) { o.Announce.Refresh = time.Millisecond },
		"clock, report and logger": func(o *Options) { o.Clock = nil },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	_, err := New(Options{})
	for _, want := range []string{"no service address", "interface name", "unknown fence", "clock"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v misses %q", err, want)
		}
	}
	if _, err := NewScript(ScriptOptions{Up: "up.sh"}); err == nil || !strings.Contains(err.Error(), `up script "up.sh" is no absolute path`) {
		t.Errorf("error %v", err)
	}
}

// Defaults fit every preset but for the lease, which cmd fills in.
func TestOptions_presets(t *testing.T) {
	for _, p := range supervisor.Presets() {
		timing, err := p.Timing()
		if err != nil {
			t.Fatal(err)
		}
		o := options(newReports())
		o.Lease = timing.Lease
		if _, err := New(o); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		// A renewal may be this late before the gate closes in mid-service; jiffies of 10 ms may take one of them off.
		if slack := ladder(o.Lease)[0].timeout - 10*time.Millisecond - timing.Renew; slack < 2*timing.Renew {
			t.Errorf("%s: the gate closes when a renewal is only %v late", p, slack)
		}
	}
	timing, _ := supervisor.PresetDefault.Timing()
	if got := DefaultOptions().Lease; got != timing.Lease {
		t.Errorf("default lease %v, want that of the default preset, %v", got, timing.Lease)
	}
}

// The newest state wins, an older epoch never does, a drop always counts.
func TestMailbox(t *testing.T) {
	m := newMailbox()
	for _, h := range []struct {
		hold supervisor.Hold
		want bool
	}{
		{supervisor.Hold{Held: true, Epoch: 5, Until: 1}, true},
		{supervisor.Hold{Held: true, Epoch: 4, Until: 2}, false},
		{supervisor.Hold{Held: false, Epoch: 3}, true},
		{supervisor.Hold{Held: true, Epoch: 4, Until: 3}, false},
		{supervisor.Hold{Held: true, Epoch: 5, Until: 4}, true},
	} {
		if got := m.put(h.hold); got != h.want {
			t.Errorf("put %+v: %v, want %v", h.hold, got, h.want)
		}
	}
	if h, newest, ok := m.take(); !ok || newest != 5 || h.Until != 4 {
		t.Errorf("took %+v, newest %d, %v", h, newest, ok)
	}
	if _, _, ok := m.take(); ok {
		t.Error("took twice")
	}
}
