package lab

import (
	"testing"
	"time"
)

// slack is how late the machine may do what a test asked for.
const slack = 60 * time.Millisecond

// Both kinds of server answer at the service address of whoever holds it, and say who they are.
func TestLab_serversAnswer(t *testing.T) {
	for _, kind := range []ServerKind{Kamailio, Embedded} {
		t.Run(string(kind), func(t *testing.T) {
			l := newLab(t, kind)
			for _, m := range Members() {
				hold(t, l, m, true)
				if err := l.WaitHealthy(timeout(t, 10*time.Second)); err != nil {
					t.Fatal(err)
				}
				if got := l.Primary(); got != m {
					t.Errorf("the primary is %q, want %q", got, m)
				}
				if got := l.Holders().String(); got != m {
					t.Errorf("the address is with %s, want %s", got, m)
				}
				if got, err := l.Phone("ann").Register(timeout(t, time.Second)); err != nil || got != m {
					t.Errorf("a phone registered at %q, %v, want %s", got, err, m)
				}
				hold(t, l, m, false)
			}
		})
	}
}

// hold gives a member the service address or takes it away, and lets the client notice, which nobody tells it.
func hold(t *testing.T, l *Lab, member string, held bool) {
	t.Helper()
	if err := l.SetHolder(member, held); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Run(client, "ip", "neigh", "flush", "dev", "sip0"); err != nil {
		t.Fatal(err)
	}
}

// heldLab is a lab in which a holds the service address and all is well.
func heldLab(t *testing.T) *Lab {
	t.Helper()
	l := newLab(t, Embedded)
	hold(t, l, MemberA, true)
	if err := l.WaitHealthy(timeout(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return l
}

// span carries out begin, and end 100 ms later, and gives bounds of the time between.
func span(t *testing.T, begin, end func() error) (from, to, least, most time.Duration) {
	t.Helper()
	from = Now()
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	begun := Now()
	sleepUntil(from + 100*ms)
	ending := Now()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	ended := Now()
	sleepUntil(ended + 200*ms)
	return from, ended + 100*ms, ending - begun, ended - from
}

// The client measures an outage of known length: the address is away for 100 ms.
func TestClient_measuresOutage(t *testing.T) {
	l := heldLab(t)
	from, to, least, most := span(t,
		func() error { return l.SetHolder(MemberA, false) },
		func() error { return l.SetHolder(MemberA, true) })
	got := MeasureOutage(l.Client.Window(from, to), from, to)
	if got.Longest < least || got.Longest > most+2*AskInterval+slack {
		t.Errorf("outage of %v, want %v to %v and a little", got.Longest, least, most)
	}
	if got.Open || got.Lost < int(least/AskInterval)*3/4 {
		t.Errorf("got %+v, want about %d lost and an end", got, least/AskInterval)
	}
}

// The observer measures two holders for a known time: b has the address too for 100 ms.
func TestObserver_measuresTwoHolders(t *testing.T) {
	l := heldLab(t)
	from, to, least, most := span(t,
		func() error { return l.SetHolder(MemberB, true) },
		func() error { return l.SetHolder(MemberB, false) })
	samples := l.Observer.Window(from, to)
	got := TwoHolders(samples, from, to)
	if got < least-slack/4 || got > most+slack {
		t.Errorf("two holders for %v, want %v to %v and a little", got, least, most)
	}
	sure := from - settled // the look under way at from may have been answered after b took the address
	before := TwoHolders(l.Observer.Window(sure-200*ms, sure), sure-200*ms, sure)
	if before != 0 {
		t.Errorf("two holders for %v before, want 0", before)
	}
}

// The observer's questions teach nobody's neighbour table: when b takes the address from a without a word, the client goes on asking a.
func TestObserver_disturbsNobody(t *testing.T) {
	l := heldLab(t)
	if err := l.SetHolder(MemberB, true); err != nil {
		t.Fatal(err)
	}
	from := Now()
	sleepUntil(from + 1500*ms) // longer than a neighbour entry is locked after a change (1 s)
	got := MeasureOutage(l.Client.Window(from, Now()-settled), from, Now()-settled)
	if len(got.Servers) != 1 || got.Servers[0] != MemberA {
		t.Errorf("%v answered, want a alone", got.Servers)
	}
}
