package lab

import (
	"testing"
	"time"
)

// reaches reports whether a host's SIP requests are answered by a member. What should work gets longer: a kernel that has just looked for
// a neighbour in vain looks again after a second.
func reaches(t *testing.T, l *Lab, from, to string, want bool) bool {
	t.Helper()
	patience := 300 * ms
	if want {
		patience = 5 * time.Second
	}
	return l.askOnce(timeout(t, patience), from, Addr(to, SIP)) == nil
}

// A cut concerns one network, one direction and two hosts; the next cuts replace it; none heals all.
func TestSetCuts(t *testing.T) {
	l := newLab(t, Embedded)
	steps := []struct {
		name       string
		cuts       []Cut
		ab, ca, cb bool // who reaches whom
	}{
		{"none", nil, true, true, true},
		{"from a to b", []Cut{{SIP, MemberA, MemberB}}, false, true, true},
		{"answers from b to a", []Cut{{SIP, MemberB, MemberA}}, false, true, true},
		{"the other network", []Cut{{Management, MemberA, MemberB}}, true, true, true},
		{"a and b", Between(MemberA, MemberB), false, true, true},
		{"a from everybody", around(MemberA), false, false, true},
		{"healed", nil, true, true, true},
	}
	for _, s := range steps {
		if err := l.SetCuts(s.cuts...); err != nil {
			t.Fatal(err)
		}
		for _, pair := range []struct {
			from, to string
			want     bool
		}{{MemberA, MemberB, s.ab}, {client, MemberA, s.ca}, {client, MemberB, s.cb}} {
			if got := reaches(t, l, pair.from, pair.to, pair.want); got != pair.want {
				t.Errorf("%s: %s reaches %s: %t, want %t", s.name, pair.from, pair.to, got, pair.want)
			}
		}
	}
}

// A deaf host answers itself and nobody else; Heal mends that and every other fault, also twice.
func TestHeal(t *testing.T) {
	l := newLab(t, Embedded)
	breaks := map[string]func() error{
		"deaf":          func() error { return l.setDeaf(MemberA, true) },
		"cables pulled": func() error { return l.setCables(MemberA, false) },
		"link down":     func() error { return l.hosts[MemberA].setLink("sip0", false) },
		"server killed": l.servers[MemberA].Kill,
		"server frozen": l.servers[MemberA].Freeze,
	}
	for name, f := range breaks {
		if err := f(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if reaches(t, l, client, MemberA, false) {
			t.Errorf("%s: a still answers", name)
		}
		if serves := name == "deaf" || name == "cables pulled"; serves && !reaches(t, l, MemberA, MemberA, true) {
			t.Errorf("%s: a does not answer itself", name)
		}
		for range 2 {
			if err := l.Heal(); err != nil {
				t.Fatalf("heal %s: %v", name, err)
			}
		}
		if !reaches(t, l, client, MemberA, true) {
			t.Errorf("%s: a does not answer after Heal", name)
		}
	}
}
