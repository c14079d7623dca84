package supervisor

import (
	"errors"
	"testing"
	"time"
)

// TestPlanSwitchover proves which orders are refused, and with which words.
func TestPlanSwitchover(t *testing.T) {
	g := newGuess(1)
	c := testCore(t, "a", Demote, g.now)
	if _, err := c.PlanSwitchover(g.now, "", "", ""); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("no primary yet: got %v", err)
	}
	c.Step(g.now, Applied{Record: Record{Epoch: 4, Primary: "a"}, Synced: true})
	g.now.Mono += 3 * time.Second
	c.Step(g.now, Sensed{Server: View{Class: ClassServing}})

	refused := func(to NodeID, want string) {
		t.Helper()
		var unfit *UnfitError
		_, err := c.PlanSwitchover(g.now, to, "", "")
		if !errors.As(err, &unfit) || err.Error() != want {
			t.Errorf("to %q: got %v, want %s", to, err, want)
		}
	}
	refused("w", "w can't be primary: it is no member of this pair")
	refused("x", "x can't be primary: it is no member of this pair")
	refused("", "b can't be primary: nothing was heard from it lately")
	if _, err := c.PlanSwitchover(g.now, "a", "", ""); !errors.Is(err, ErrNoChange) {
		t.Errorf("to the primary: got %v", err)
	}
	c.Step(g.now, Reported{Report{Node: "b", State: Starting}})
	refused("b", "b can't be primary: it has only just started")
	c.Step(g.now, Reported{Report{Node: "b", State: Following, Reasons: []Reason{ReasonNIC, ReasonStore}}})
	refused("b", "b can't be primary: nic, store")
	c.Step(g.now, Reported{Report{Node: "b", State: Following, Ready: true}})

	e, err := c.PlanSwitchover(g.now, "", "maintenance", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if r := e.Role; r.Epoch != 5 || r.To != "b" || r.Trigger != TriggerOperator || r.Reason != "maintenance" || r.By != "alice" || !r.At.Equal(g.now.Wall) {
		t.Errorf("got %+v", *r)
	}
	g.now.Mono += 3 * time.Second
	c.Step(g.now, Tick{})
	refused("b", "b can't be primary: nothing was heard from it lately")
}
