package nic

import (
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// Wrong settings are refused, each by its own words.
func TestNew_refuses(t *testing.T) {
	gateway := func(change func(*Monitor)) Monitor {
		m := by("eth1")
		m.Gateway = netip.MustParseAddr("10.0.0.254")
		change(&m)
		return m
	}
	for _, c := range []struct {
		name string
		m    []Monitor
		want string
	}{
		{"nothing", nil, "no interface to watch"},
		{"neither link nor address", []Monitor{{}}, "neither link nor address"},
		{"long name", []Monitor{by(strings.Repeat("x", 200))}, "too long"},
		{"unspecified", []Monitor{carrying("", "0.0.0.0")}, "address 0.0.0.0: want a unicast"},
		{"multicast", []Monitor{carrying("", "224.0.0.1")}, "address 224.0.0.1: want a unicast"},
		{"zone", []Monitor{carrying("", "fe80::1%eth0")}, "without zone"},
		{"negative", []Monitor{{Link: "eth1", DebounceUp: -1}}, "negative"},
		{"twice", []Monitor{by("eth1"), by("eth1")}, "two monitors are called eth1"},
		{"period", []Monitor{gateway(func(m *Monitor) { m.GatewayPeriod = 1 })}, "gateway period 1ns"},
		{"fall", []Monitor{gateway(func(m *Monitor) { m.GatewayFall = 0 })}, "gateway fall 0"},
		{"own gateway", []Monitor{gateway(func(m *Monitor) { m.Address = m.Gateway })}, "own address"},
		{"nobody to tell", []Monitor{gateway(func(*Monitor) {})}, "nobody to tell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(Options{Monitors: c.m, Report: func(State) {}, Logger: zap.NewNop()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without anything: got nil, want an error")
	}
}

// Monitors are called as they are told to be, else by link or address.
func TestNew_names(t *testing.T) {
	w, err := New(Options{
		Monitors: []Monitor{carrying("sip-nic", "10.0.0.1"), carrying("", "::ffff:10.0.0.2"), by("eth1")}, Report: func(State) {}, Logger: zap.NewNop(),
	})
	do(t, err)
	for i, want := range []string{"sip-nic", "10.0.0.2", "eth1"} {
		if got := w.things[i].m.Name; got != want {
			t.Errorf("monitor %d: got %q, want %q", i, got, want)
		}
	}
}
