package nic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// world is a kernel with one interface and a gateway, in virtual time.
type world struct {
	mu      sync.Mutex
	up      bool
	answers bool
	err     error // of looking
	askErr  error
	asked   []question
	looks   int
	pending touched
	signal  chan struct{}
	got     chan answer
}

func newWorld() *world {
	return &world{up: true, answers: true}
}

func (w *world) wake() <-chan struct{} { return w.signal }

func (w *world) take() touched {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.pending
	w.pending = touched{}
	return t
}

func (w *world) look(Monitor, past) (sight, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	l := &link{index: 7, name: "eth1", flags: flagUp, oper: operDown, ether: true, mac: ourMAC}
	if w.up {
		l.flags, l.oper = flagUp|flagLowerUp, operUp
	}
	return sight{link: l, from: netip.MustParseAddr("10.0.0.1")}, w.err
}

// change changes the world and tells of an event at the interface.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.pending = touched{links: map[int]bool{7: true}, err: w.pending.err}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// gate is the world's voice.
type gate struct{ *world }

func (g gate) answers() <-chan answer { return g.got }

func (g gate) ask(q question) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, q)
	if g.askErr == nil && g.world.answers {
		g.got <- answer{q.monitor, itsMAC}
	}
	return g.askErr
}

// story runs a Watcher in a bubble and gives what it reported, with the moments since the beginning.
func story(t *testing.T, m Monitor, w *world, plot func(since func(time.Duration))) (told []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.signal, w.got = make(chan struct{}, 1), make(chan answer, 16) // channels belong to a bubble
		began := time.Now()
		tell := func(what string) { told = append(told, fmt.Sprintf("%v %s", time.Since(began), what)) }
		watcher, err := New(Options{
			Monitors: []Monitor{m}, Logger: zap.NewNop(),
			Report: func(s State) {
				if s.Flapping != strings.Contains(s.Text, "flaps") || s.Up != (s.Text == "eth1 is up") || s.Since.After(time.Now()) {
					t.Errorf("reported %+v", s)
				}
				tell(s.Text)
			},
			ReportGateway: func(g Gateway) { tell(g.Text) },
		})
		do(t, err)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := watcher.follow(ctx, w, gate{w}); err != nil {
				tell(err.Error())
			}
		})
		plot(func(at time.Duration) {
			time.Sleep(time.Until(began.Add(at)))
			synctest.Wait()
		})
		synctest.Wait()
		stop()
		running.Wait()
	})
	return told
}

func check(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func eth1() Monitor {
	m := DefaultMonitor()
	m.Link, m.DebounceDown = "eth1", 0
	return m
}

// A change is told in the moment of its event, and one that isn't any more when it is looked at, not at all.
func TestFollow_atOnce(t *testing.T) {
	w := newWorld()
	check(t, story(t, eth1(), w, func(until func(time.Duration)) {
		until(5 * time.Second)
		w.change(func() { w.up = false })
		until(6 * time.Second)
		w.change(func() { w.up = true })
		until(7 * time.Second)
		w.change(func() {}) // an old event
		until(time.Hour)
	}), "0s eth1 is up", "5s no carrier on eth1", "6s eth1 is up")
	if w.looks != 4 {
		t.Errorf("looked %d times in an hour, want one for the start and one for each event", w.looks)
	}
}

// A link that flaps twenty times a second for a minute is three reports, and one more when it has been up for a while (S4-47).
func TestFollow_flapping(t *testing.T) {
	w := newWorld()
	check(t, story(t, eth1(), w, func(until func(time.Duration)) {
		for i := range 1200 {
			until(time.Second + time.Duration(i)*50*ms)
			w.change(func() { w.up = !w.up })
		}
		until(2 * time.Minute)
	}), "0s eth1 is up", "1s no carrier on eth1", "1.05s eth1 is up", "1.1s eth1 flaps: no carrier on eth1", "1m2.95s eth1 is up")
}

// A link that flaps and then stays away is told as what it is once nothing changes any more.
func TestFollow_flapsThenGone(t *testing.T) {
	w := newWorld()
	check(t, story(t, eth1(), w, func(until func(time.Duration)) {
		for i := range 3 {
			until(time.Duration(i+1) * time.Second)
			w.change(func() { w.up = !w.up })
		}
		until(time.Minute)
	}), "0s eth1 is up", "1s no carrier on eth1", "2s eth1 is up", "3s eth1 flaps: no carrier on eth1", "13s no carrier on eth1")
}

// A debounce delays the verdict, and what is over before that isn't told.
func TestFollow_debounceDown(t *testing.T) {
	w, m := newWorld(), eth1()
	m.DebounceDown = 500 * ms
	check(t, story(t, m, w, func(until func(time.Duration)) {
		until(time.Second)
		w.change(func() { w.up = false })
		until(1400 * ms)
		w.change(func() { w.up = true })
		until(20 * time.Second)
		w.change(func() { w.up = false })
		until(30 * time.Second)
	}), "0s eth1 is up", "20.5s no carrier on eth1")
}

// What can't be seen changes nothing, and is looked at again.
func TestFollow_blind(t *testing.T) {
	w := newWorld()
	check(t, story(t, eth1(), w, func(until func(time.Duration)) {
		until(time.Second)
		w.change(func() { w.err, w.up = errors.New("no memory"), false })
		until(2550 * ms)
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		until(time.Minute)
	}), "0s eth1 is up", "2.6s no carrier on eth1")
}

// The end of the subscription ends the loop, for a new one to be made.
func TestFollow_ends(t *testing.T) {
	w := newWorld()
	check(t, story(t, eth1(), w, func(until func(time.Duration)) {
		until(time.Second)
		w.change(func() { w.pending.err = errors.New("subscription ended") })
		until(2 * time.Second)
	}), "0s eth1 is up", "1s subscription ended")
}

// A gateway that falls silent is a fact of its own: the interface stays up. While the interface is down it isn't judged.
func TestFollow_gateway(t *testing.T) {
	w, m := newWorld(), eth1()
	m.Gateway = netip.MustParseAddr("10.0.0.254")
	check(t, story(t, m, w, func(until func(time.Duration)) {
		until(10500 * ms)
		w.mu.Lock()
		w.answers = false
		w.mu.Unlock()
		until(19500 * ms)
		w.mu.Lock()
		w.answers = true
		w.mu.Unlock()
		until(30500 * ms)
		w.change(func() { w.up = false })
		until(50 * time.Second)
		w.change(func() { w.up = true })
		until(51 * time.Second)
	}),
		"0s eth1 is up", "0s gateway 10.0.0.254 answers", "14s gateway 10.0.0.254 has not answered ARP for 3s",
		"20s gateway 10.0.0.254 answers",
		"30.5s no carrier on eth1", "30.5s gateway 10.0.0.254 is not judged while the interface is down",
		"50s eth1 is up", "50s gateway 10.0.0.254 answers")
	if first, second := w.asked[0].to, w.asked[1].to; first != everywhere(m.Gateway) || second != itsMAC {
		t.Errorf("asked first at %x and then at %x, want everywhere and then only it", first, second)
	}
}

// What keeps the gateway from being asked is told, and tried again.
func TestFollow_gatewayNotAsked(t *testing.T) {
	w, m := newWorld(), eth1()
	m.Gateway = netip.MustParseAddr("10.0.0.254")
	w.askErr = errors.New("CAP_NET_RAW is needed")
	check(t, story(t, m, w, func(until func(time.Duration)) {
		until(12 * time.Second)
		w.mu.Lock()
		w.askErr = nil
		w.mu.Unlock()
		until(20 * time.Second)
	}), "0s eth1 is up", "0s gateway 10.0.0.254 can't be asked: CAP_NET_RAW is needed", "15s gateway 10.0.0.254 answers")
}
