package vip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// guarded is a sentry in virtual time with a grace of 1 s and a poll of 5 s, and what it said.
type guarded struct {
	*sentry
	t     *testing.T
	now   time.Duration
	match bool
	busy  bool
	said  []string
	at    []time.Duration // of said
	turn  uint64
}

func newGuarded(t *testing.T) *guarded {
	return &guarded{sentry: newSentry(time.Second, 5*time.Second), t: t, now: time.Hour, match: true}
}

var verdictNames = map[verdict]string{
	tellFailure: "52029", orderRepair: "repair", tellPersistent: "persistent", tellSuccess: "52030", tellVoid: "void",
}

func (g *guarded) note(all []verdict) {
	for _, v := range all {
		g.said, g.at = append(g.said, verdictNames[v]), append(g.at, g.now)
	}
}

func (g *guarded) role(primary bool) {
	g.turn++
	g.note(g.want(g.now, primary, g.turn))
	g.is(g.match)
}

// is has an event tell how the addresses are.
func (g *guarded) is(match bool) {
	g.match = match
	g.note(g.see(g.now, match, g.busy))
}

// pass lets time pass, in which the sentry is asked whenever it wants to.
func (g *guarded) pass(d time.Duration) {
	g.t.Helper()
	end := g.now + d
	for range 10000 {
		at := g.wakeAt(g.now)
		if at > end {
			g.now = end
			return
		}
		if at <= g.now || !g.overdue(at) {
			g.t.Fatalf("at %v: wakes at %v", g.now, at)
		}
		g.now = at
		g.note(g.see(g.now, g.match, g.busy))
	}
	g.t.Fatalf("does not come to rest: %v", g.said)
}

func (g *guarded) expect(health Health, said ...string) {
	g.t.Helper()
	if g.health != health || !slices.Equal(g.said, said) {
		g.t.Errorf("at %v: %s %v, want %s %v", g.now-time.Hour, g.health, g.said, health, said)
	}
	g.said = nil
}

// Every row of the table of S4-41 to S4-46, on both roles.
func TestSentry_rows(t *testing.T) {
	for _, primary := range []bool{true, false} {
		for name, row := range map[string]func(*guarded){
			"ok, match": func(g *guarded) {
				g.is(true)
				g.pass(time.Hour)
				g.expect(HealthOK)
			},
			"ok, mismatch": func(g *guarded) {
				g.is(false)
				g.expect(HealthFixing, "52029", "repair")
			},
			"ok, mismatch in the grace": func(g *guarded) {
				g.role(!primary)
				g.is(false)
				g.pass(999 * ms)
				g.expect(HealthOK)
				g.pass(ms)
				g.expect(HealthFixing, "52029", "repair")
			},
			"ok, mismatch that ends within the grace": func(g *guarded) {
				g.role(!primary)
				g.is(false)
				g.pass(900 * ms)
				g.is(true)
				g.pass(time.Minute)
				g.expect(HealthOK)
			},
			"fixing, match": func(g *guarded) {
				g.is(false)
				g.pass(2 * ms)
				g.is(true)
				g.expect(HealthOK, "52029", "repair", "52030")
			},
			"fixing, mismatch before a grace has passed": func(g *guarded) {
				g.is(false)
				g.pass(999 * ms)
				g.expect(HealthFixing, "52029", "repair")
			},
			"fixing, still mismatch after a grace": func(g *guarded) {
				g.is(false)
				g.pass(time.Second)
				g.expect(HealthBad, "52029", "repair", "persistent", "repair")
			},
			"fixing, the script still runs": func(g *guarded) {
				g.is(false)
				g.busy = true
				g.pass(9 * time.Second)
				g.expect(HealthFixing, "52029", "repair")
				g.busy = false
				g.pass(2 * time.Second)
				g.expect(HealthBad, "persistent", "repair")
			},
			"fixing, the script never ends": func(g *guarded) {
				g.is(false)
				g.busy = true
				g.pass(2 * time.Minute)
				if g.health != HealthBad {
					g.t.Errorf("after two minutes %s", g.health)
				}
			},
			"bad, mismatch": func(g *guarded) {
				g.is(false)
				g.pass(time.Second)
				g.said = nil
				g.pass(20 * time.Second) // repairs 2, 4, 5 and 5 s after each other
				g.expect(HealthBad, "repair", "repair", "repair", "repair")
			},
			"bad, match": func(g *guarded) {
				g.is(false)
				g.pass(time.Second)
				g.said = nil
				g.is(true)
				g.expect(HealthOK, "52030")
			},
			"fixing, role change": func(g *guarded) {
				g.is(false)
				g.role(!primary)
				g.expect(HealthOK, "52029", "repair")
			},
			"bad, role change": func(g *guarded) {
				g.is(false)
				g.pass(time.Second)
				g.said = nil
				g.role(!primary)
				g.expect(HealthOK, "void")
				g.is(true) // a failure that was told is ended in the new role
				g.pass(time.Second)
				g.expect(HealthOK, "52030")
			},
			"ok, role change and back": func(g *guarded) {
				g.role(!primary)
				g.role(primary)
				g.pass(time.Minute)
				g.expect(HealthOK)
			},
			"a lapsed wish of the same kind has a grace": func(g *guarded) {
				g.role(primary)
				g.is(false)
				g.pass(500 * ms)
				g.is(true)
				g.expect(HealthOK)
			},
		} {
			t.Run(fmt.Sprintf("%s, primary %v", name, primary), func(t *testing.T) {
				g := newGuarded(t)
				g.role(primary)
				g.pass(time.Minute)
				g.expect(HealthOK)
				row(g)
			})
		}
	}
}

// Nobody said what is wanted: nothing is judged.
func TestSentry_unknownWish(t *testing.T) {
	g := newGuarded(t)
	g.is(false)
	g.pass(time.Hour)
	g.expect(HealthOK)
}

// Somebody who removes the address whenever it is back ends in a persistent failure, told once, however quick the repairs are; when he
// stops, it ends once.
func TestSentry_loop(t *testing.T) {
	for _, pause := range []time.Duration{ms, 50 * ms, 300 * ms, 2 * time.Second, 7 * time.Second} {
		t.Run(pause.String(), func(t *testing.T) {
			g := newGuarded(t)
			g.role(true)
			g.pass(time.Minute)
			for range 60 {
				g.is(false)
				g.pass(ms)
				g.is(true)
				g.pass(pause)
			}
			story := strings.Join(g.said, " ")
			if g.health != HealthBad || strings.Count(story, "persistent") != 1 || strings.Count(story, "52029") > 6 {
				t.Errorf("%s: %s", g.health, story)
			}
			g.said = nil
			g.pass(10 * time.Second)
			g.expect(HealthOK, "52030")
		})
	}
}

// Whatever happens: failures and successes are told in turn, repairs are a grace apart within an episode, persistent comes after a
// failure.
func TestSentry_random(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := newGuarded(t)
		g.turn = 1
		g.role(r.IntN(2) == 0)
		open, primary, repaired := false, g.wanted, time.Duration(0)
		for range 300 {
			g.said, g.at = nil, nil
			switch r.IntN(8) {
			case 0:
				primary = !primary
				g.role(primary)
			case 1:
				g.busy = !g.busy
			case 2, 3, 4:
				g.is(r.IntN(2) == 0)
			default:
				g.pass(time.Duration(r.Int64N(int64(2 * time.Second))))
			}
			for i, what := range g.said {
				switch {
				case what == "52030":
					if !open {
						t.Fatalf("seed %d: success without failure", seed)
					}
					open = false
				case what == "52029":
					open = true
				case what == "persistent" && !open:
					t.Fatalf("seed %d: persistent without failure", seed)
				case what == "repair" && (i == 0 || g.said[i-1] != "52029") && g.at[i]-repaired < time.Second:
					t.Fatalf("seed %d: repairs %v apart", seed, g.at[i]-repaired)
				}
				if what == "repair" {
					repaired = g.at[i]
				}
			}
		}
	}
}
