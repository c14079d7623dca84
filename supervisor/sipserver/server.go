package sipserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
)

// Socket is where the server has to listen. A socket bound to all addresses counts for each.
type Socket struct {
	Transport string // "udp", "tcp" or "tls"
	Addr      netip.AddrPort
}

func (s Socket) String() string { return s.Transport + " " + s.Addr.String() }

// Options say what to watch and whom to tell.
type Options struct {
	Listen  []Socket // all of them have to be there, the first is the one that is probed; none: only probes tell
	Process string   // if set, only processes of this name (/proc/PID/comm) count
	// Besides are further sockets whose queues count as long as the server has them, such as those of service addresses.
	Besides []Socket
	// HangAfter is how long what speaks for a hang has to last; 0: DefaultHangAfter. Processes that can't run are a hang at once.
	HangAfter time.Duration
	// Report is told the status at every change but of Queue alone, and with every view of the probes. It is called from one goroutine and must not
	// block.
	Report func(Status)
	Logger *zap.Logger
}

// Status is what is known of the server.
type Status struct {
	View      supervisor.View
	Reason    supervisor.Reason // why it can't serve; "" if it can
	Text      string            // the evidence, for people
	Processes int               // that hold its sockets, as far as they can be seen
	Since     time.Time         // of Reason

	Outage      Outage // why nothing serves, as event 00-04200 puts it; zero if something does
	OptionsDead bool   // OPTIONS has had no answer for HangAfter, but nothing else says that it hangs: worth an alarm, Text says more
	Overloaded  bool   // it answers, but 503, or what arrives is more than it reads: worth an alarm
	Busy        bool   // it answers at a service address, but what arrives waits: answers may come too late for whoever asked
	Queue       Queue  // what waits to be read
}

// Server watches one SIP server.
type Server struct {
	o      Options
	log    *zap.Logger
	called chan struct{}

	mu      sync.Mutex
	view    supervisor.View // the newest of Probed, with its number
	refused bool
	probes  uint64
	traffic TrafficFacts // not yet taken
	asked   bool         // to look at the sockets

	// What follows belongs to Run.
	base     time.Time
	judge    *judge
	eyes     *eyes
	status   Status
	looking  bool // the last look was of the same silence
	unseeing bool // the last scan failed
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Logger == nil || o.Report == nil {
		return nil, errors.New("sipserver: no logger or no report function")
	}
	var errs []error
	for _, l := range o.Listen {
		if l.Transport != "udp" && l.Transport != "tcp" && l.Transport != "tls" {
			errs = append(errs, fmt.Errorf("sipserver: unknown transport %q (one of udp, tcp, tls)", l.Transport))
		}
		if !l.Addr.IsValid() || l.Addr.Port() == 0 {
			errs = append(errs, fmt.Errorf("sipserver: %v is no address with a port", l.Addr))
		}
	}
	if o.HangAfter < 0 {
		errs = append(errs, fmt.Errorf("sipserver: a server cannot hang after %v", o.HangAfter))
	}
	o.HangAfter = cmp.Or(o.HangAfter, DefaultHangAfter)
	o.Listen = slices.Clone(o.Listen)
	return &Server{
		o: o, log: o.Logger.Named("sip-server"), called: make(chan struct{}, 1),
		view: supervisor.View{Class: supervisor.ClassUnknown, Text: "not probed yet"},
	}, errors.Join(errs...)
}

// Probed takes what OPTIONS probes of the server say; refused tells an explicit refusal from silence where the view says dead. A view
// that says serving has to rest on an answer newer than the view before. It never blocks.
func (s *Server) Probed(v supervisor.View, refused bool) {
	s.mu.Lock()
	s.view, s.refused = v, refused
	s.probes++
	s.mu.Unlock()
	s.call()
}

// Look has the sockets looked at now, because somebody misses answers. It never blocks.
func (s *Server) Look() {
	s.mu.Lock()
	s.asked = true
	s.mu.Unlock()
	s.call()
}

// Traffic takes what an observer of the traffic has found since it last told. It never blocks.
func (s *Server) Traffic(f TrafficFacts) {
	s.mu.Lock()
	t := &s.traffic
	if f.LastAnswer.IsZero() && f.Answered > 0 {
		f.LastAnswer = time.Now()
	}
	if f.LastAnswer.After(t.LastAnswer) {
		t.LastAnswer = f.LastAnswer
	}
	if f.LastServed.After(t.LastServed) {
		t.LastServed = f.LastServed
	}
	t.Requests, t.Answered, t.Unavailable = t.Requests+f.Requests, t.Answered+f.Answered, t.Unavailable+f.Unavailable
	s.mu.Unlock()
	s.call()
}

// call wakes Run.
func (s *Server) call() {
	select {
	case s.called <- struct{}{}:
	default:
	}
}

// pollEvery is how often the sockets are looked at without cause. Everything urgent comes as an event.
const pollEvery = time.Second

// Run watches until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	s.base = time.Now()
	transport := ""
	if len(s.o.Listen) > 0 {
		transport = s.o.Listen[0].Transport
	}
	s.judge = newJudge(transport, s.o.HangAfter)
	s.status = Status{Reason: supervisor.ReasonServerStart, Since: s.base, View: s.judge.view, Text: "not looked at yet"}
	eyes, err := openEyes(s.o.Listen, s.o.Besides, s.o.Process, s.log)
	if err != nil {
		return fmt.Errorf("watch the SIP server: %w", err)
	}
	s.eyes = eyes
	defer eyes.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	eyes.listen(ctx)

	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	var taken uint64
	s.scan(ctx, false)
	s.publish(true)
	for {
		probed := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-eyes.exits:
			eyes.forget(e.pid)
			s.judge.exited(s.now(), e)
			s.publish(false) // before anything slow
			s.scan(ctx, true)
		case <-eyes.destroyed:
			s.scan(ctx, false)
		case <-poll.C:
			s.scan(ctx, false)
		case <-again.C:
		case <-s.called:
			s.takeTraffic()
			if s.takeAsked() {
				s.scan(ctx, false)
			}
			probed = s.takeProbe(ctx, &taken)
		}
		s.look(again)
		s.publish(probed)
	}
}

func (s *Server) now() time.Duration { return time.Since(s.base) }

func (s *Server) takeProbe(ctx context.Context, taken *uint64) bool {
	s.mu.Lock()
	v, refused, n := s.view, s.refused, s.probes
	s.mu.Unlock()
	if n == *taken {
		return false
	}
	*taken = n
	if v.Class == classServing && (s.judge.missing != "" || s.judge.fault != nil) {
		s.scan(ctx, true) // it may be back
	}
	s.judge.probed(s.now(), v, refused)
	return true
}

func (s *Server) takeAsked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = false
	return asked
}

func (s *Server) takeTraffic() {
	s.mu.Lock()
	f := s.traffic
	s.traffic = TrafficFacts{}
	s.mu.Unlock()
	if f != (TrafficFacts{}) {
		if !f.LastServed.IsZero() {
			s.judge.traffic.servedAt(f.LastServed.Sub(s.base))
		}
		s.judge.observed(s.now(), f, f.LastAnswer.Sub(s.base), !f.LastAnswer.IsZero())
	}
}

// scan looks at sockets and processes. Where the kernel does not list sockets, only probes tell.
func (s *Server) scan(ctx context.Context, thorough bool) {
	if len(s.o.Listen) == 0 {
		return
	}
	seen, err := s.eyes.scan(ctx, s.holders(), thorough)
	if err != nil {
		if !s.unseeing {
			s.log.Warn("cannot watch the sip server's sockets", zap.NamedError("err", err))
		}
		seen = &sight{}
		s.eyes.seen = nil
	}
	s.unseeing = err != nil
	s.judge.queues.sampled(s.now(), s.eyes.seen)
	if seen != nil {
		s.judge.scanned(s.now(), *seen)
	}
}

// look looks at what else speaks for a hang or against it, and again soon if that matters.
func (s *Server) look(again *time.Timer) {
	if _, ok := s.judge.wantsLook(s.now()); !ok {
		s.looking = false
		return
	}
	if len(s.o.Listen) > 0 {
		listening, joined, counted, err := s.eyes.queues()
		if err == nil {
			s.judge.queues.sampled(s.now(), listening)
		}
		if counted {
			s.judge.queues.connected(s.now(), joined)
		}
	}
	s.judge.looked(s.now(), s.eyes.look(s.workers(), !s.looking))
	var soon time.Duration
	if soon, s.looking = s.judge.wantsLook(s.now()); s.looking {
		again.Reset(soon)
	}
}

// workers are the known holders without the helpers that inherited the socket from them.
func (s *Server) workers() []holder {
	main, ok := s.judge.holders[s.judge.main]
	return slices.DeleteFunc(s.holders(), func(h holder) bool { return ok && h.program != main.program })
}

// holders gives the known ones in order.
func (s *Server) holders() []holder {
	all := make([]holder, 0, len(s.judge.holders))
	for _, h := range s.judge.holders {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b holder) int { return cmp.Compare(a.pid, b.pid) })
	return all
}

// publish reports the status if it changed, or if there is a new view.
func (s *Server) publish(anyway bool) {
	now := s.now()
	reason, text := s.judge.verdict(now)
	next := Status{
		View: s.judge.view, Reason: reason, Text: text, Processes: len(s.judge.holders), Since: s.status.Since,
		OptionsDead: s.judge.optionsDead(now), Overloaded: s.judge.overloaded(now), Busy: s.judge.busy(now), Queue: s.judge.queues.facts,
	}
	if o, since, ok := s.judge.outage(); ok {
		next.Outage = o
		next.Outage.Since = s.base.Add(since)
	}
	if reason != s.status.Reason {
		next.Since = time.Now()
		s.log.Info("sip server changed", zap.String("from", string(s.status.Reason)), zap.String("to", string(reason)),
			zap.String("why", text))
	}
	s.status.Queue = next.Queue
	if next == s.status && !anyway {
		return
	}
	s.status = next
	s.o.Report(next)
}
