package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// scenario is one fault in a pair at peace, whose primary is a, and what must come of it.
type scenario struct {
	name  string
	begin func(w *world)
	moves bool                                    // the role must be b's afterwards; else nothing may happen to the service at all
	bound func(t supervisor.Timing) time.Duration // from the fault to the next open gate
	lapse bool                                    // the service may lapse, but the role must come back to a
	keeps bool                                    // and in the same epoch
	any   bool                                    // whatever comes of it: only the invariants count
	fence supervisor.Fence                        // of all nodes; nftables if empty
	after map[time.Duration]func(w *world)        // by virtual time since the fault
}

// lapsed is the time of a takeover from a silent primary: the whole promise, and one renewal's length for what comes after it.
func lapsed(t supervisor.Timing) time.Duration { return t.Promise(0) + t.Renew }

// handed is the time of a hand-over between two live nodes: a Raft commit and what hides behind it.
func handed(t supervisor.Timing) time.Duration {
	return 15*time.Millisecond + 150*t.Renew/time.Duration(100)
}

func on(i int, f func(w *world, x, y int)) func(*world) {
	return func(w *world) { f(w, i, (i+1)%nodeCount) }
}

func oneWay(i, j int) func(*world) { return func(w *world) { w.cut(i, j, true) } }

func split(i, j int) func(*world) {
	return func(w *world) { w.cut(i, j, true); w.cut(j, i, true) }
}

func at(d time.Duration, f func(*world)) map[time.Duration]func(*world) {
	return map[time.Duration]func(*world){d: f}
}

var scenarios = []scenario{
	{name: "host of the primary dead", begin: func(w *world) { w.nodes[nodeA].crash(true) }, moves: true, bound: lapsed},
	{name: "host dead, it led raft", begin: func(w *world) { w.led(nodeA); w.nodes[nodeA].crash(true) }, moves: true, bound: lapsed},
	{name: "host dead, the witness led raft", begin: func(w *world) { w.led(nodeW); w.nodes[nodeA].crash(true) }, moves: true, bound: lapsed},
	{name: "sidecar of the primary killed", begin: func(w *world) { w.nodes[nodeA].crash(false) }, moves: true, bound: lapsed},
	{name: "SIP server of the primary dead", begin: on(nodeA, server(supervisor.ClassDead, supervisor.ReasonServerDead)), moves: true, bound: handed},
	{name: "NIC of the primary down", begin: on(nodeA, server(supervisor.ClassDead, supervisor.ReasonNIC)), moves: true, bound: handed},
	{name: "primary asked to leave", begin: func(w *world) { leave(w.nodes[nodeA]) }, moves: true, bound: handed},
	{name: "switchover asked at the primary", begin: func(w *world) { order(w.nodes[nodeA]) }, moves: true, bound: handed},
	{name: "switchover asked at the backup", begin: func(w *world) { order(w.nodes[nodeB]) }, moves: true, bound: handed},
	{name: "switchover asked at the witness", begin: func(w *world) { order(w.nodes[nodeW]) }, moves: true, bound: handed},
	{name: "primary isolated", begin: on(nodeA, isolate(true)), moves: true, bound: lapsed},
	{name: "primary isolated, it led raft", begin: func(w *world) { w.led(nodeA); isolate(true)(w, nodeA, 0) }, moves: true, bound: lapsed},
	{name: "primary mute", begin: on(nodeA, mute(true)), moves: true, bound: lapsed},
	{name: "primary deaf", begin: on(nodeA, deafen(true)), moves: true,
		bound: func(t supervisor.Timing) time.Duration { return lapsed(t) + 4*t.Renew }}, // it renews until it has heard nobody for 3R
	{name: "sidecar frozen", begin: func(w *world) { w.nodes[nodeA].freeze() }, moves: true, bound: lapsed},
	{name: "sidecar frozen and resumed later", begin: func(w *world) { w.nodes[nodeA].freeze() }, moves: true, bound: lapsed,
		after: at(10*time.Second, func(w *world) { w.nodes[nodeA].resume() })},
	{name: "path to the primary's address dead", begin: func(w *world) { w.watch.lie = 1 + nodeA }, moves: true,
		bound: func(t supervisor.Timing) time.Duration { return 10*t.VantageEvery + handed(t) },
		after: at(time.Second, func(w *world) { w.watch.lie = 0 })},

	{name: "nobody gets answers in time from the primary's busy server", begin: func(w *world) {
		w.nodes[nodeA].busy = true
		w.nodes[nodeA].setServer(supervisor.ClassServing)
		w.run(w.now + w.timing.VantageSilence) // the others learn of it before their probes have waited in vain for so long
		w.watch.lie = 1 + nodeA
	}},
	{name: "the primary's server stalled and has just come back", begin: func(w *world) {
		silence := w.timing.VantageSilence
		server(supervisor.ClassDead)(w, nodeA, nodeB)
		w.watch.lie = 1 + nodeA
		w.after(2*silence, func() { healthy(w, nodeA, nodeB) })
		w.after(2*silence+silence*3/4, func() { w.watch.lie = 0 })
	}},
	{name: "witness dead", begin: func(w *world) { w.nodes[nodeW].crash(true) }},
	{name: "backup dead", begin: func(w *world) { w.nodes[nodeB].crash(true) }},
	{name: "witness restarted", begin: func(w *world) { w.nodes[nodeW].crash(false); w.nodes[nodeW].start() }},
	{name: "backup restarted", begin: func(w *world) { w.nodes[nodeB].crash(false); w.nodes[nodeB].start() }},
	{name: "SIP server of the backup dead", begin: on(nodeB, server(supervisor.ClassDead, supervisor.ReasonServerDead))},
	{name: "SIP server of the primary draining", begin: on(nodeA, server(supervisor.ClassDraining, supervisor.ReasonServerDrain))},
	{name: "primary and backup apart", begin: split(nodeA, nodeB)},
	{name: "primary and witness apart", begin: split(nodeA, nodeW)},
	{name: "backup and witness apart", begin: split(nodeB, nodeW)},
	{name: "backup isolated", begin: on(nodeB, isolate(true))},
	{name: "backup deaf", begin: on(nodeB, deafen(true))},
	{name: "backup mute", begin: on(nodeB, mute(true))},
	{name: "witness deaf", begin: on(nodeW, deafen(true))},
	{name: "witness mute", begin: on(nodeW, mute(true))},
	{name: "primary unheard by the backup", begin: oneWay(nodeA, nodeB)},
	{name: "primary unheard by the witness", begin: oneWay(nodeA, nodeW)},
	{name: "backup unheard by the primary", begin: oneWay(nodeB, nodeA)},
	{name: "backup unheard by the witness", begin: oneWay(nodeB, nodeW)},
	{name: "witness unheard by the primary", begin: oneWay(nodeW, nodeA)},
	{name: "witness unheard by the backup", begin: oneWay(nodeW, nodeB)},
	{name: "a fifth of the primary's datagrams lost", begin: func(w *world) {
		for _, j := range []int{nodeB, nodeW} {
			w.net.links[nodeA][j].loss, w.net.links[j][nodeA].loss = 20, 20
		}
	}, after: at(time.Minute, func(*world) {})},
	{name: "no leader of raft", begin: func(w *world) { w.raft.leader, w.raft.electAt = -1, w.now+10*time.Minute }},
	{name: "backup frozen and resumed", begin: func(w *world) { w.nodes[nodeB].freeze() },
		after: at(time.Second, func(w *world) { w.nodes[nodeB].resume() })},
	{name: "lifetime fence, sidecar frozen, both voters restarted", fence: supervisor.FenceLifetime, begin: func(w *world) {
		w.nodes[nodeA].freeze()
		for _, voter := range []int{nodeB, nodeW} {
			w.nodes[voter].crash(false)
			w.nodes[voter].start()
		}
	}, after: at(5*time.Second, func(*world) {}), any: true},
	{name: "witness frozen and resumed", begin: func(w *world) { w.nodes[nodeW].freeze() },
		after: at(time.Second, func(w *world) { w.nodes[nodeW].resume() })},
	{name: "backup and witness frozen for less than the silence", begin: func(w *world) {
		w.nodes[nodeB].freeze()
		w.nodes[nodeW].freeze()
		w.after(w.timing.Suspect, func() { w.nodes[nodeB].resume(); w.nodes[nodeW].resume() })
	}},
	{name: "all three paused for longer than the silence", begin: func(w *world) {
		for i, n := range w.nodes {
			n.freeze()
			w.after(w.timing.Suspect*3/2+time.Duration(nodeCount-i)*w.timing.Renew/8, n.resume)
		}
	}},
	{name: "primary frozen for less than the silence", begin: func(w *world) {
		w.nodes[nodeA].freeze()
		w.after(w.timing.Suspect/2, w.nodes[nodeA].resume)
	}},

	{name: "paused, SIP server of the primary dead for a second", begin: func(w *world) {
		w.pauseFor(time.Hour)
		server(supervisor.ClassDead, supervisor.ReasonServerDead)(w, nodeA, nodeB)
	}, after: at(time.Second, on(nodeA, healthy))},
	{name: "paused, path to the primary's address dead", begin: func(w *world) { w.pauseFor(time.Hour); w.watch.lie = 1 + nodeA }},
	{name: "paused, sidecar of the primary restarted", begin: func(w *world) {
		w.pauseFor(time.Hour)
		w.nodes[nodeA].crash(false)
		w.nodes[nodeA].start()
	}, lapse: true, keeps: true},
	{name: "paused, host of the primary restarted", begin: func(w *world) { w.pauseFor(time.Hour); w.nodes[nodeA].crash(true) },
		after: at(time.Second, on(nodeA, onNode(restart))), lapse: true, keeps: true},
	{name: "paused, host restarted, SIP server late", begin: func(w *world) {
		w.pauseFor(time.Hour)
		w.nodes[nodeA].crash(true)
		w.nodes[nodeA].server = supervisor.ClassDead
		w.nodes[nodeA].reasons = []supervisor.Reason{supervisor.ReasonServerDead}
		w.nodes[nodeA].start()
	}, after: at(6*time.Second, on(nodeA, healthy)), lapse: true, keeps: true},
	{name: "paused, primary left while the backup can't serve", begin: func(w *world) {
		w.pauseFor(time.Hour)
		server(supervisor.ClassDead, supervisor.ReasonServerDead)(w, nodeB, nodeA)
		w.after(100*time.Millisecond, func() { leave(w.nodes[nodeA]) })
	}, after: at(time.Second, func(w *world) { w.nodes[nodeA].crash(false); w.nodes[nodeA].start() }), lapse: true},
	{name: "primary left while the backup can't serve", begin: func(w *world) {
		server(supervisor.ClassDead, supervisor.ReasonServerDead)(w, nodeB, nodeA)
		w.after(100*time.Millisecond, func() { leave(w.nodes[nodeA]) })
	}, after: at(time.Second, func(w *world) { w.nodes[nodeA].crash(false); w.nodes[nodeA].start() }), lapse: true},
	{name: "budget spent, the chosen member can't put the address up", begin: func(w *world) {
		for k := range 4 {
			w.move(1-k%2, supervisor.TriggerSilent)
		}
		w.nodes[nodeB].address.failing = true
		w.run(w.now + 4*w.timing.VantageEvery)
		w.move(nodeB, supervisor.TriggerOperator)
	}, lapse: true},
	{name: "old primary wakes, voter restarted and knows the record", begin: func(w *world) {
		w.takeover()
		w.nodes[nodeB].server, w.nodes[nodeB].reasons = supervisor.ClassDead, []supervisor.Reason{supervisor.ReasonServerDead}
		for _, i := range []int{nodeB, nodeW} {
			w.nodes[i].crash(false)
			w.nodes[i].start()
		}
		split(nodeA, nodeB)(w)
	}, after: at(4*time.Second, wakeA), any: true},
	{name: "old primary wakes, voter restarted and is not synced", begin: func(w *world) {
		w.takeover()
		w.nodes[nodeB].crash(true)
		n := w.nodes[nodeW]
		n.crash(false)
		n.snapshot, n.logStuck = 1, true
		n.start()
	}, after: at(4*time.Second, wakeA), any: true},
	{name: "old primary wakes, voter promised more than it has applied", begin: func(w *world) {
		w.nodes[nodeW].logStuck = true
		w.nodes[nodeA].freeze()
		w.nodes[nodeA].logStuck = true
		w.nodes[nodeB].stored++
		w.grant(nodeB, supervisor.TriggerOperator)
		w.apply(w.nodes[nodeB])
		w.run(w.now + w.bound()/2)
		w.nodes[nodeB].crash(true)
		w.run(w.now + 3*w.unit)
	}, after: at(time.Second, wakeA), any: true},
	{name: "backup dead, then witness dead for a second", begin: func(w *world) {
		w.nodes[nodeB].crash(true)
		w.after(time.Second, func() { w.nodes[nodeW].crash(true) })
	}, after: at(2*time.Second, func(w *world) { w.nodes[nodeW].start() }), lapse: true},
}

// grant commits the next epoch in favour of a member, with both others' disks.
func (w *world) grant(to int, t supervisor.Trigger) {
	w.commit(supervisor.Entry{Role: &supervisor.RoleEntry{Epoch: w.raft.last().Epoch + 1, To: ids[to], Trigger: t,
		At: epochWall.Add(w.now), Reason: "test", Budget: w.budget}})
}

// move grants the role and lets it move.
func (w *world) move(to int, t supervisor.Trigger) {
	w.grant(to, t)
	w.run(w.now + 10*w.unit)
}

// takeover lets b take the role from a, which freezes and hears nothing of it, nor will its log.
func (w *world) takeover() {
	w.nodes[nodeA].freeze()
	w.nodes[nodeA].logStuck = true
	w.run(w.now + w.bound()/2)
}

func wakeA(w *world) {
	w.nodes[nodeA].inbox = nil
	w.nodes[nodeA].resume()
}

// led moves Raft's leadership and lets everybody learn it.
func (w *world) led(i int) {
	w.lead(i)
	w.run(w.now + 100*time.Millisecond)
}

// pauseFor commits a pause at once.
func (w *world) pauseFor(d time.Duration) {
	at := epochWall.Add(w.now)
	w.commit(supervisor.Entry{Pause: &supervisor.PauseEntry{At: at, Pause: supervisor.Pause{Until: at.Add(d), Reason: "test", By: "operator"}}})
	w.run(w.now + time.Second)
}

// length is how long a scenario is watched.
func (s scenario) length(w *world) time.Duration {
	d := 20*w.unit + w.timing.ReportStale
	for at := range s.after {
		d = max(d, at+5*w.unit)
	}
	if s.lapse || s.any {
		d += w.bound()
	}
	return d
}

// play runs one scenario and gives how long the service was gone.
func play(s scenario, seed uint64, preset supervisor.Preset, tr *trace) (gone time.Duration, w *world) {
	w = newWorld(seed, preset, true, tr)
	w.stats = newStats()
	if s.fence != "" {
		for _, n := range w.nodes {
			n.crash(false)
			n.fence = s.fence
			n.start()
		}
	}
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic: %v", r)
		}
	}()
	w.run(w.bound() + w.upTo(2*w.timing.Report))
	if !slices.Equal(w.serving(), []int{nodeA}) {
		w.fail("no steady state: %v serve", w.serving())
		return 0, w
	}
	if w.raft.leader != nodeB {
		w.fail("raft's leader stayed on %d", w.raft.leader)
	}
	w.watch.closings, w.watch.openedAt = 0, 0
	epoch, start := w.raft.last().Epoch, w.now
	w.note(-1, "SCENARIO %s", s.name)
	s.begin(w)
	start = w.now
	for d, f := range s.after {
		w.after(d, func() { f(w) })
	}
	w.run(start + s.length(w))
	w.judge(s, epoch)
	return w.watch.openedAt - start, w
}

// judge holds the world to what the scenario demands.
func (w *world) judge(s scenario, epoch supervisor.Epoch) {
	moved := w.raft.last().Epoch != epoch
	primary := w.raft.last().Primary
	switch {
	case w.broken != "" || s.any:
	case s.moves && (primary != "b" || w.raft.last().Epoch != epoch+1):
		w.fail("the role is with %s in epoch %d after %d", primary, w.raft.last().Epoch, epoch)
	case s.moves && !w.nodes[nodeB].gateOpen():
		w.fail("b does not hold the address")
	case s.lapse && !(primary == "a" && w.nodes[nodeA].gateOpen()):
		w.fail("a does not serve again: epoch %d of %s, a is %s", w.raft.last().Epoch, primary, w.nodes[nodeA].core.State())
	case s.keeps && moved:
		w.fail("the epoch went from %d to %d", epoch, w.raft.last().Epoch)
	case !s.moves && !s.lapse && (moved || w.watch.closings > 0):
		w.fail("the service was touched: epoch %d after %d, the address closed %d times", w.raft.last().Epoch, epoch, w.watch.closings)
	}
}

// runScenarios plays every scenario at several phases of the renewals and reports the worst outage of each.
func runScenarios(out io.Writer, presets []supervisor.Preset, only string, phases int, verbose bool) bool {
	var scenarios = slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !strings.Contains(s.name, only) })
	var (
		wg   sync.WaitGroup
		bad  atomic.Int32
		next atomic.Int32
		text = make([]bytes.Buffer, len(presets)*len(scenarios))
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(text); i = int(next.Add(1)) - 1 {
				if !runScenario(&text[i], scenarios[i%len(scenarios)], presets[i/len(scenarios)], phases, verbose) {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range text {
		text[i].WriteTo(out)
	}
	fmt.Fprintf(out, "%d scenarios in %d phases, %d presets: %d failed\n", len(scenarios), phases, len(presets), bad.Load())
	return bad.Load() == 0
}

func runScenario(out io.Writer, s scenario, p supervisor.Preset, phases int, verbose bool) bool {
	var gone []time.Duration
	t, _ := p.Timing()
	for seed := uint64(1); seed <= uint64(phases); seed++ {
		d, w := play(s, seed, p, nil)
		if s.bound != nil && w.broken == "" {
			limit := s.bound(t)
			if p == supervisor.PresetWAN {
				limit += 600 * time.Millisecond // an election and a commit over the wire
			}
			if d > limit {
				w.broken = fmt.Sprintf("the service came back after %v, not within %v", d, limit)
			}
		}
		if w.broken != "" {
			tr := &trace{keep: 200}
			play(s, seed, p, tr)
			fmt.Fprintf(out, "VIOLATION: %s, phase %d, preset %s: %s\n", s.name, seed, p, w.broken)
			if verbose {
				for _, l := range tr.tail() {
					fmt.Fprintln(out, l)
				}
			}
			return false
		}
		gone = append(gone, d)
	}
	slices.Sort(gone)
	if verbose && s.moves {
		fmt.Fprintf(out, "%-8s %-52s back after %v, at worst %v\n", p, s.name,
			gone[len(gone)/2].Round(100*time.Microsecond), gone[len(gone)-1].Round(100*time.Microsecond))
	}
	return true
}
