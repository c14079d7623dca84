package vip

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// judged is a rivals in virtual time, and what it said.
type judged struct {
	*rivals
	now  time.Duration
	said []string
}

var (
	macA     = MAC{2, 0, 0, 0, 0, 0xa}
	macB     = MAC{2, 0, 0, 0, 0, 0xb}
	stranger = MAC{2, 0, 0, 0, 0, 0x66}
)

func newJudged(holds bool, members ...MAC) *judged {
	j := &judged{rivals: newRivals(group), now: time.Hour}
	j.hold(j.now-time.Minute, holds)
	for _, m := range members {
		j.member(m)
	}
	return j
}

func (j *judged) note(all []deed) {
	for _, d := range all {
		if d.announce.IsValid() {
			j.said = append(j.said, "announce")
		} else {
			j.said = append(j.said, fmt.Sprintf("%s %v %d", d.kind, d.rival.mac[5], d.claims))
		}
	}
}

func (j *judged) claims(mac MAC) { j.note(j.claim(j.now, vip4.Addr(), mac)) }

func (j *judged) pass(d time.Duration) {
	for end := j.now + d; ; {
		at := j.wakeAt(j.now)
		if at > end {
			j.now = end
			return
		}
		j.now = at
		j.note(j.tick(at))
	}
}

func (j *judged) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(j.said, want) {
		t.Errorf("at %v: %q, want %q", j.now-time.Hour, j.said, want)
	}
	j.said = nil
}

// The holder answers a claim at once and tells of it; a minute of silence ends that.
func TestRivals_holderDefends(t *testing.T) {
	j := newJudged(true, macB)
	j.claims(stranger)
	j.expect(t, "announce", "conflict 102 1")
	j.pass(59 * time.Second)
	j.expect(t)
	j.pass(time.Second)
	j.expect(t, "conflict-over 102 0")
	if len(j.sightings) != 0 {
		t.Errorf("%d sightings are kept", len(j.sightings))
	}
}

// However many claims there are, there are at most ten announcements in ten seconds, the last claim is answered, and one report in ten
// seconds.
func TestRivals_defenceIsBounded(t *testing.T) {
	j := newJudged(true)
	announced := []time.Duration{}
	told := 0
	for range 2500 {
		j.claims(stranger)
		j.pass(10 * ms)
		for _, s := range j.said {
			if s == "announce" {
				announced = append(announced, j.now)
			} else {
				told++
			}
		}
		j.said = nil
	}
	for i := range announced {
		if i >= defendLimit && announced[i]-announced[i-defendLimit] < defendSpan-10*ms {
			t.Errorf("announcements %d to %d within %v", i-defendLimit, i, announced[i]-announced[i-defendLimit])
		}
	}
	if len(announced) != 3*defendLimit || told != 3 {
		t.Errorf("in 25 s %d announcements and %d reports", len(announced), told)
	}
	j.pass(defendSpan)
	if len(j.said) == 0 || j.said[0] != "announce" {
		t.Errorf("the last claim was not answered: %q", j.said)
	}
}

// Right after taking the address a claim is answered only when the effector has announced, and a member's may be a late one; two seconds
// later a member is a rival too.
func TestRivals_roleChange(t *testing.T) {
	j := newJudged(false, macB)
	j.hold(j.now, true)
	j.claims(macB)
	j.expect(t)
	j.claims(stranger)
	j.expect(t, "conflict 102 1")
	j.pass(firstDefence)
	j.expect(t, "announce")
	j.pass(roleSlack)
	j.claims(macB)
	j.expect(t, "announce", "conflict 11 1")
}

// Who gives the address up no longer answers.
func TestRivals_notAfterTheRole(t *testing.T) {
	j := newJudged(true, macB)
	for range defendLimit + 1 {
		j.claims(stranger)
	}
	j.said = nil
	j.hold(j.now, false)
	j.pass(defendSpan)
	if slices.Contains(j.said, "announce") {
		t.Errorf("it announced: %q", j.said)
	}
}

// Who doesn't hold the address tells of strangers and not of members, also of one that it gets to know a moment later; it sends nothing.
func TestRivals_backup(t *testing.T) {
	j := newJudged(false, macB)
	j.claims(macB)
	j.pass(time.Minute)
	j.expect(t)
	j.claims(stranger)
	j.expect(t)
	j.pass(roleSlack)
	j.expect(t, "conflict 102 1")
	j.claims(macA)
	j.pass(time.Second)
	j.member(macA)
	j.pass(10 * time.Second)
	j.expect(t)
}

// Who knows no member can't tell its claim from a rival's.
func TestRivals_backupAlone(t *testing.T) {
	j := newJudged(false)
	j.claims(stranger)
	j.pass(time.Hour)
	j.expect(t)
}

// A rival that invents MACs fills no memory.
func TestRivals_bounded(t *testing.T) {
	j := newJudged(true)
	for i := range 10000 {
		m := MAC{2, 1, 1, byte(i >> 16), byte(i >> 8), byte(i)}
		j.claims(m)
		j.member(m)
	}
	if len(j.sightings) != rivalLimit || len(j.members) != memberLimit || len(j.said) > rivalLimit+defendLimit {
		t.Errorf("%d sightings, %d members, said %d things", len(j.sightings), len(j.members), len(j.said))
	}
}
