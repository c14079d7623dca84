package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/contrib/lab"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// demoAct is one thing that happens to the pair.
type demoAct struct {
	fault string
	title string // for the table
	doing string // what is done; %s is the primary
	heal  string // how it is undone; empty: nothing has to be
}

var demoActs = []demoAct{
	{"server-killed", "SIP server killed", "%s is primary: kill -9 to every process of its SIP server.", "start the SIP server of %s again"},
	{"host-dead", "host cut off", "%s is primary: pull both network cables of its host.", "plug the cables of %s in again"},
	{"switchover", "planned switchover", "%s is primary and well: `understudy switchover`.", ""},
}

// demoCalm is how long people see that all is well, before and after something happens.
const demoCalm = 3 * demoRow

// demoStumble is how long the service may be away while nothing is wrong: a busy machine stumbles.
const demoStumble = time.Second

// demoResult is what an act cost.
type demoResult struct {
	act      demoAct
	from, to string
	outage   time.Duration
	lost     int
	both     time.Duration
}

// demoShow plays the acts to a screen.
type demoShow struct {
	lab     *lab.Lab
	out     io.Writer
	screen  *demoScreen
	phone   *lab.Phone
	results []demoResult
}

func newDemoShow(l *lab.Lab, out io.Writer) *demoShow {
	return &demoShow{lab: l, out: out, screen: newDemoScreen(l, out), phone: l.Phone("100")}
}

// run plays everything and prints the report. An error says what did not work.
func (s *demoShow) run(ctx context.Context) error {
	drawing, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.screen.run(drawing) }()
	err := s.play(ctx)
	stop()
	if drawn := <-ended; err == nil {
		err = drawn
	}
	if err != nil {
		return err
	}
	return s.report(ctx)
}

func (s *demoShow) play(ctx context.Context) error {
	s.screen.say("Start. The sidecars find each other, and one member becomes primary.")
	if err := s.healthy(ctx); err != nil {
		return err
	}
	took, server, err := s.register(ctx)
	if err != nil {
		return err
	}
	s.screen.say(fmt.Sprintf("The pair is in service. Phone 100 sends REGISTER to %s: 200 from %s in %s.", lab.ServiceAddress, server, inMillis(took)))
	for i, act := range demoActs {
		r, err := s.perform(ctx, i+1, act)
		if err != nil {
			return fmt.Errorf("demo: %s: %w", act.title, err)
		}
		s.results = append(s.results, r)
	}
	return pauseFor(ctx, demoCalm)
}

func (s *demoShow) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lab.HealthLimit/2)
	defer cancel()
	return s.lab.WaitHealthy(ctx)
}

// register lets the phone register, and tells how long that took.
func (s *demoShow) register(ctx context.Context) (took time.Duration, server string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := lab.Now()
	server, err = s.phone.Register(ctx)
	return lab.Now() - began, server, err
}

// perform breaks the pair, waits until it has shown what that does, mends it and waits until it is whole.
func (s *demoShow) perform(ctx context.Context, number int, act demoAct) (demoResult, error) {
	r := demoResult{act: act}
	fault, err := lab.FaultByName(act.fault)
	if err != nil {
		return r, err
	}
	if err := pauseFor(ctx, demoCalm); err != nil {
		return r, err
	}
	s.screen.say(fmt.Sprintf("%d. %s", number, fmt.Sprintf(act.doing, s.lab.Primary())))
	in, err := s.lab.Inject(fault)
	if err != nil {
		return r, err
	}
	seen := s.lab.Watch(ctx, in)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	r.from, r.to = in.Primary, s.lab.Primary()
	if r.to != lab.Peer(r.from) || seen.During.Open {
		return r, fmt.Errorf("%s did not take over; the client saw an outage of %s", lab.Peer(r.from), inMillis(seen.During.Longest))
	}
	took, server, err := s.register(ctx)
	if err != nil {
		return r, err
	}
	s.screen.say(fmt.Sprintf("   %s serves: the client was without an answer for %s. Phone 100 sends REGISTER: 200 from %s in %s.",
		r.to, inMillis(seen.During.Longest), server, inMillis(took)))
	if err := pauseFor(ctx, demoCalm); err != nil {
		return r, err
	}
	healed := lab.Now()
	if act.heal != "" {
		s.screen.say(fmt.Sprintf("   Mend: %s. %s stays primary.", fmt.Sprintf(act.heal, r.from), r.to))
		if err := s.lab.Heal(); err != nil {
			return r, err
		}
	}
	if err := s.healthy(ctx); err != nil {
		return r, err
	}
	end := lab.Now()
	r.outage, r.lost = seen.During.Longest, seen.During.Lost
	r.both = lab.TwoHolders(s.lab.Observer.Window(in.At, end), in.At, end)
	after := lab.MeasureOutage(s.lab.Client.Window(healed, end), healed, end)
	switch now := s.lab.Primary(); {
	case r.both > 0:
		return r, fmt.Errorf("both members held the address for %s", inMillis(r.both))
	case after.Longest > demoStumble:
		return r, fmt.Errorf("mending it cost the client %s", inMillis(after.Longest))
	case now != r.to:
		return r, fmt.Errorf("the role moved from %s to %s without a reason", r.to, now)
	}
	return r, nil
}

const demoFootnote = `
outage         the longest time between two answered requests of a client that asks every %d ms and never repeats a request. A SIP phone
               repeats one after 500 ms (T1 of RFC 3261): what is back by then costs it one retransmission.
two holders    how long both members answered for the address
`

// report prints the table, and what understudy itself says about it.
func (s *demoShow) report(ctx context.Context) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nWHAT IT COST           outage  requests lost  two holders  primary\n")
	for _, r := range s.results {
		fmt.Fprintf(&b, "%-18s %10s  %13d  %11s  %s -> %s\n", r.act.title, inMillis(r.outage), r.lost, inMillis(r.both), r.from, r.to)
	}
	fmt.Fprintf(&b, demoFootnote, lab.AskInterval.Milliseconds())
	client := status.NewClient(s.lab.UnderstudySocket(lab.MemberA))
	defer client.Close()
	snapshot, err := client.Snapshot(ctx)
	if err != nil {
		return err
	}
	history, err := client.History(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n$ understudy status\n%s\n$ understudy history\n%s", renderStatus(snapshot, time.UTC), renderHistory(newest(history, len(history)), time.UTC))
	_, err = io.WriteString(s.out, b.String())
	return err
}

func inMillis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
