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
	Listen  []Socket // all of them have to be there; none: only probes tell
	Process string   // if set, only processes of this name (/proc/PID/comm) count
	// Report is told the status at every change and with every view of the probes. It is called from one goroutine and must not
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
	s.judge = newJudge(len(s.o.Listen) > 0)
	s.status = Status{Reason: supervisor.ReasonServerStart, Since: s.base, View: s.judge.view, Text: "not looked at yet"}
	eyes, err := openEyes(s.o.Listen, s.o.Process, s.log)
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
	if v.Class == supervisor.ClassServing && (s.judge.missing != "" || s.judge.fault != nil) {
		s.scan(ctx, true) // it may be back
	}
	s.judge.probed(s.now(), v, refused)
	return true
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
	}
	s.unseeing = err != nil
	if seen != nil {
		s.judge.scanned(s.now(), *seen)
	}
}

// look looks for an excuse for silence, and again soon if it finds one.
func (s *Server) look(again *time.Timer) {
	if !s.judge.wantsLook() {
		s.looking = false
		return
	}
	s.judge.looked(s.now(), s.eyes.look(s.holders(), !s.looking))
	if s.looking = s.judge.wantsLook(); s.looking {
		again.Reset(relook)
	}
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
	reason, text := s.judge.verdict()
	next := Status{View: s.judge.view, Reason: reason, Text: text, Processes: len(s.judge.holders), Since: s.status.Since}
	if reason != s.status.Reason {
		next.Since = time.Now()
		s.log.Info("sip server changed", zap.String("from", string(s.status.Reason)), zap.String("to", string(reason)),
			zap.String("why", text))
	}
	if next == s.status && !anyway {
		return
	}
	s.status = next
	s.o.Report(next)
}
