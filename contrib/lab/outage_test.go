package lab

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// asksAt makes answered requests at these moments, in ms.
func asksAt(server string, moments ...int) []Ask {
	var asks []Ask
	for _, m := range moments {
		asks = append(asks, Ask{Sent: time.Duration(m) * ms, Took: ms, Server: server})
	}
	return asks
}

// steadyAsks makes answered requests every AskInterval from one moment to before another, in ms.
func steadyAsks(server string, from, to int) []Ask {
	var moments []int
	for m := from; m < to; m += 2 {
		moments = append(moments, m)
	}
	return asksAt(server, moments...)
}

// lost makes requests unanswered.
func lost(asks []Ask) []Ask {
	for i := range asks {
		asks[i].Took, asks[i].Server = 0, ""
	}
	return asks
}

func TestMeasureOutage(t *testing.T) {
	late := steadyAsks("a", 100, 150)
	for i := range late {
		late[i].Took = AnswerLimit + ms
	}
	tests := []struct {
		name     string
		asks     []Ask
		from, to int
		want     Outage
	}{
		{"nothing wrong", steadyAsks("a", 0, 200), 100, 200,
			Outage{Longest: 2 * ms, Asked: 50, Servers: []string{"a"}}},
		{"a gap, then the other member", slices.Concat(steadyAsks("a", 0, 100), lost(steadyAsks("", 100, 150)), steadyAsks("b", 150, 200)), 90, 200,
			Outage{Longest: 52 * ms, Asked: 55, Lost: 25, Servers: []string{"a", "b"}}},
		{"the gap begins before the span", slices.Concat(steadyAsks("a", 0, 50), lost(steadyAsks("", 50, 150)), steadyAsks("a", 150, 200)), 100, 200,
			Outage{Longest: 102 * ms, Asked: 50, Lost: 25, Servers: []string{"a"}}},
		{"the longest of two gaps counts", slices.Concat(asksAt("a", 98), asksAt("b", 120), asksAt("a", 180), steadyAsks("a", 182, 200)), 100, 200,
			Outage{Longest: 60 * ms, Asked: 11, Servers: []string{"b", "a"}}},
		{"no end of the gap", slices.Concat(steadyAsks("a", 0, 100), lost(steadyAsks("", 100, 200))), 90, 200,
			Outage{Longest: 102 * ms, Open: true, Asked: 55, Lost: 50, Servers: []string{"a"}}},
		{"the client itself sends nothing to the end", steadyAsks("a", 0, 180), 90, 200,
			Outage{Longest: 22 * ms, Asked: 45, Servers: []string{"a"}}},
		{"late answers are none", slices.Concat(steadyAsks("a", 0, 100), late, steadyAsks("b", 150, 200)), 90, 200,
			Outage{Longest: 52 * ms, Asked: 55, Lost: 25, Servers: []string{"a", "b"}}},
		{"requests after the span don't count", slices.Concat(steadyAsks("a", 0, 102), lost(steadyAsks("", 102, 200))), 0, 100,
			Outage{Longest: 2 * ms, Asked: 51, Servers: []string{"a"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := MeasureOutage(test.asks, time.Duration(test.from)*ms, time.Duration(test.to)*ms)
			if got.Longest != test.want.Longest || got.Open != test.want.Open || got.Asked != test.want.Asked ||
				got.Lost != test.want.Lost || !slices.Equal(got.Servers, test.want.Servers) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// samplesOf makes one look per ms; each letter says who answered: "a", "b", "2" for both, "-" for nobody.
func samplesOf(looks string) []Sample {
	var samples []Sample
	for i, c := range looks {
		s := Sample{At: time.Duration(i) * ms}
		switch c {
		case 'a':
			s.Holders = holderOf(0)
		case 'b':
			s.Holders = holderOf(1)
		case '2':
			s.Holders = holderOf(0) | holderOf(1)
		}
		samples = append(samples, s)
	}
	return samples
}

// heldUp is samplesOf, with one look that took long.
func heldUp(looks string, which int) []Sample {
	samples := samplesOf(looks)
	samples[which].Took = 5 * ms
	return samples
}

func TestTwoHolders(t *testing.T) {
	six := samplesOf("aaaaaaaaaaaa")
	for _, i := range []int{0, 4, 8} {
		six[i].Known6, six[i].Holders6 = true, holderOf(0)
	}
	six[4].Holders6 |= holderOf(1)
	late6 := slices.Clone(six)
	late6[4].Took = 5 * ms
	stalled := samplesOf("aa22")
	stalled[3].At = 30 * ms
	tests := []struct {
		name     string
		samples  []Sample
		from, to int
		want     time.Duration
	}{
		{"never", samplesOf("aaaa--bbbb"), 0, 9, 0},
		{"for three looks", samplesOf("aaa222bbbb"), 0, 9, 3 * ms},
		{"twice", samplesOf("a22ab2bbbb"), 0, 9, 3 * ms},
		{"outside the span", samplesOf("22aaaaaa22"), 2, 7, 0},
		{"the last look counts until the end of the span", samplesOf("aaaaaaaaa2"), 0, 12, 3 * ms},
		{"a look counts until the next, however late that is", stalled, 0, 32, 30 * ms},
		{"asked before and after a change", heldUp("aaa2bbb", 3), 0, 6, 0},
		{"asked late, but the next look shows it too", heldUp("aaa22bb", 3), 0, 6, 2 * ms},
		{"for IPv6 only, seen at every fourth look", six, 0, 11, 4 * ms},
		{"for IPv6 only, and asked before and after a change", late6, 0, 11, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := TwoHolders(test.samples, time.Duration(test.from)*ms, time.Duration(test.to)*ms)
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestStall(t *testing.T) {
	samples := samplesOf("aaaa")
	samples[3].At = 20 * ms
	if got, want := Stall(samples, 0, 20*ms), 18*ms; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := Stall(samples, 0, 1*ms), 1*ms; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
