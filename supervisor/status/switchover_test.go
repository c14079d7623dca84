package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-sip/understudy/supervisor"
)

// In each situation: what an order to move the role would do, or why it is refused. Nothing moves to a member that can't serve.
func TestPlanSwitchover(t *testing.T) {
	all := situations()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := Build(all[name])
		to, steps, refusal := PlanSwitchover(s, "")
		fmt.Fprintf(&text, "== %s\n", name)
		if refusal != nil {
			fmt.Fprintf(&text, "%d %s; %s\n", refusal.Status, refusal.Message, refusal.Hint)
			continue
		}
		fmt.Fprintf(&text, "to %s\n  %s\n", to, strings.Join(steps, "\n  "))
		if n, ok := s.node(to); !ok || n.Witness || !n.Ready || !n.Heard || len(n.Reasons) > 0 {
			t.Errorf("%s: moves to %+v", name, n)
		}
	}
	golden(t, "plans.txt", text.String())
}

// With no primary yet, an unnamed target is the member that is ready.
func TestPlanSwitchover_firstReady(t *testing.T) {
	in := situations()["first start"]
	change(in, "edge-b", func(h *Heard) { h.Ready, h.Reasons = true, nil })
	to, _, refusal := PlanSwitchover(Build(in), "")
	if want := supervisor.NodeID("edge-b"); to != want || refusal != nil {
		t.Errorf("got %q, %v, want %q", to, refusal, want)
	}
}
