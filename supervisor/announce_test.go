package supervisor

import (
	"reflect"
	"testing"
	"time"
)

// Every field of a report is news, but for measurements and texts about them.
func TestSameNews(t *testing.T) {
	full := func() Report {
		v := View{Class: ClassServing, Code: 200, RTT: time.Millisecond, Text: "200 in 1ms"}
		return Report{
			Node: "a", Boot: 1, Epoch: 1, State: Serving, Ready: true, Reasons: []Reason{ReasonStore}, Server: v, Service: v,
			Members: map[NodeID]View{"b": v}, Neighbours: map[string]Neighbour{"192.0.2.10": {MAC: "02:00:00:00:00:01"}}, Fence: FenceNftables, LeaseLeft: time.Second, ConfigHash: "1", Version: "1",
		}
	}
	if !sameNews(full(), full()) {
		t.Fatal("sameNews: equal reports differ")
	}
	typ := reflect.TypeFor[Report]()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		other := full()
		reflect.ValueOf(&other).Elem().Field(i).SetZero()
		if got, want := sameNews(full(), other), name == "LeaseLeft"; got != want {
			t.Errorf("sameNews without %s: got %v, want %v", name, got, want)
		}
	}
	measured := full()
	for _, v := range []*View{&measured.Server, &measured.Service} {
		v.RTT, v.Text = 2*time.Millisecond, "200 in 2ms"
	}
	measured.Members["b"] = View{Class: ClassServing, Code: 200}
	if !sameNews(full(), measured) {
		t.Error("sameNews: another measurement is taken for news")
	}
	measured.Members["b"] = View{Class: ClassDead}
	if sameNews(full(), measured) {
		t.Error("sameNews: a member that died is no news")
	}
}
