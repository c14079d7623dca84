package lab

import (
	"testing"
	"time"
)

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
