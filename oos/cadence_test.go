package oos

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// line is a target at the other end of a network, in virtual time.
type line struct {
	rtt  time.Duration
	loss float64 // of each packet
	dead time.Duration
	back time.Duration // it answers again from then on; 0: never
	rng  *rand.Rand
}

// run is what happened in a time.
type run struct {
	asked  []time.Duration
	deaths []time.Duration
	risen  time.Duration // from the first death
	wakes  int           // without an answer that arrived
	answer time.Duration
}

// simulate asks as udp and stream do, without their sockets and clocks.
func (l line) simulate(to Target, until time.Duration, hurried bool) run {
	var r run
	now := time.Duration(0)
	w := newWatch(to, func(v supervisor.View) {
		switch {
		case v.Class == supervisor.ClassDead:
			r.deaths = append(r.deaths, now)
		case len(r.deaths) > 0 && r.risen == 0:
			r.risen = now
		}
	})
	type reply struct{ sent, at time.Duration }
	var due []reply
	lost := func() bool { return l.loss > 0 && l.rng.Float64() < l.loss }
	for now < until {
		if !hurried {
			w.extra = mostExtra
		}
		at := w.wake()
		if len(due) > 0 && due[0].at < at {
			at = due[0].at
		} else {
			r.wakes++
		}
		now = max(now, at)
		for len(due) > 0 && due[0].at <= now {
			w.took(now, 200, now-due[0].sent)
			r.answer = now
			due = due[1:]
		}
		w.conclude(now)
		if now >= w.due() {
			w.plan(now)
			w.sent(now)
			r.asked = append(r.asked, now)
			if (now < l.dead || l.back > 0 && now >= l.back) && !lost() && !lost() {
				due = append(due, reply{now, now + l.rtt})
			}
			w.conclude(now)
		}
	}
	return r
}

// vantage is how the service address is asked by the default preset, and fast by the fast one.
var (
	vantage = Target{Name: "service", Addr: netip.MustParseAddrPort("10.0.0.1:5060"), Transport: UDP, Interval: 100 * ms, Silence: 300 * ms}
	fast    = Target{Name: "service", Addr: vantage.Addr, Transport: UDP, Interval: 15 * ms, Silence: 60 * ms}
	own     = Target{Name: "own", Addr: vantage.Addr, Transport: UDP, Interval: 60 * ms, Silence: 180 * ms}
)

const always = time.Duration(1<<63 - 1)

// Whoever answers, near or far, is asked once an interval, and each question wakes this process up once.
func TestCadence_idle(t *testing.T) {
	for _, rtt := range []time.Duration{ms / 10, ms, 20 * ms, 99 * ms, 150 * ms} {
		r := line{rtt: rtt, dead: always}.simulate(vantage, 100*time.Second, true)
		first, _ := slices.BinarySearch(r.asked, 10*time.Second) // the first answer teaches how far away it is
		for i, at := range r.asked[first+1:] {
			if gap := at - r.asked[first+i]; gap != vantage.Interval {
				t.Fatalf("round trip of %v: asked %v after the last time", rtt, gap)
			}
		}
		if r.wakes > len(r.asked) || len(r.deaths) > 0 {
			t.Errorf("round trip of %v: woke up %d times to ask %d times, %d deaths", rtt, r.wakes, len(r.asked), len(r.deaths))
		}
	}
}

// Silence rests on many questions and is found out as soon as without them; then the target is asked as usual.
func TestCadence_silence(t *testing.T) {
	for name, to := range map[string]Target{"vantage": vantage, "fast": fast, "own": own} {
		for after := range 20 {
			dead := time.Second + to.Interval*time.Duration(after)/20
			r := line{rtt: ms / 2, dead: dead}.simulate(to, 4*time.Second, true)
			if len(r.deaths) == 0 || r.deaths[0] != r.answer+to.Silence {
				t.Fatalf("%s: last answer at %v, dead at %v", name, r.answer, r.deaths[:min(1, len(r.deaths))])
			}
			begin, _ := slices.BinarySearch(r.asked, r.answer)
			end, _ := slices.BinarySearch(r.asked, r.deaths[0])
			if n := end - begin; n < 10 || n > mostExtra+int(to.Silence/to.Interval)+1 {
				t.Errorf("%s: silence rests on %d questions", name, n)
			}
			for i := end + 1; i < len(r.asked); i++ {
				if gap := r.asked[i] - r.asked[i-1]; gap != to.Interval {
					t.Fatalf("%s: dead, asked %v after the last time", name, gap)
				}
			}
		}
	}
}

// Whoever comes back is asked for further answers at once: it counts as serving an interval and a fifth later at most.
func TestCadence_back(t *testing.T) {
	for name, to := range map[string]Target{"vantage": vantage, "fast": fast, "own": own} {
		to.Rise = 2
		for after := range 20 {
			back := 2*time.Second + to.Interval*time.Duration(after)/20
			r := line{rtt: ms / 2, dead: time.Second, back: back}.simulate(to, 4*time.Second, true)
			if r.risen < back || r.risen-back > to.Interval*6/5+ms {
				t.Errorf("%s: back at %v, serving at %v", name, back, r.risen)
			}
		}
	}
}

// One packet in five is lost, each way, and nobody dies of it. Without the faster questions somebody does every few minutes.
func TestCadence_loss(t *testing.T) {
	const windows = 10000
	for name, to := range map[string]Target{"vantage": vantage, "fast": fast} {
		l := line{rtt: ms, loss: 0.2, dead: always, rng: rand.New(rand.NewPCG(20, 26))}
		span := windows * to.Silence
		r := l.simulate(to, span, true)
		if len(r.deaths) > 0 {
			t.Errorf("%s: dead at %v", name, r.deaths)
		}
		inStep := float64(span / to.Interval)
		t.Logf("%s: %.2f questions an interval", name, float64(len(r.asked))/inStep)
		if float64(len(r.asked)) > 2*inStep {
			t.Errorf("%s: asked %d times in %d intervals", name, len(r.asked), int(inStep))
		}
		if slow := l.simulate(to, span, false); len(slow.deaths) < 10 {
			t.Errorf("%s: without hurry %d deaths: the test proves nothing", name, len(slow.deaths))
		}
	}
}

// A target that is dead all the time is hurried once.
func TestCadence_neverAnswers(t *testing.T) {
	r := line{}.simulate(vantage, 100*time.Second, true)
	if n := len(r.asked); n > 1000+mostExtra+1 {
		t.Errorf("asked %d times in 1000 intervals", n)
	}
}
