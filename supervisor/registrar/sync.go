package registrar

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// Table is what the pair knows of its registrations.
type Table interface {
	// Set makes bindings the state of an address of record. The REGISTER that changed it may be unknown. On a backup it does nothing.
	Set(aor string, now []location.Binding, callID string, cseq uint32) error
	// Get is the state of an address of record.
	Get(aor string) []location.Binding
	// Take gives addresses of record that this member's server has to be told of, and a channel that is closed when there are more.
	Take(limit int) (aors []string, more <-chan struct{})
	// TakeAll makes Take give all of them again.
	TakeAll()
	// Pending reports whether Take has yet to give one.
	Pending(aor string) bool
}

// SyncOptions configure a Sync. All are needed.
type SyncOptions struct {
	Server  Server
	Table   Table
	Primary func() bool // whether this member is
	Now     func() time.Duration
	Logger  *zap.Logger
}

// Sync keeps a table and this member's server equal: on the primary the table learns from the server, on the backup the server from the
// table. Of one address of record it does one thing at a time.
type Sync struct {
	o   SyncOptions
	log *zap.Logger

	mu         sync.Mutex
	jobs       map[string]*job
	ready      []string      // addresses of record to work on
	wake       chan struct{} // has room for one: there is work
	seen       chan location.Registration
	mute       bool // the server can't be asked, or has not been so far: what was seen is all there is
	failing    int  // jobs that have failed and wait to be tried again
	losses     int  // how often the server was lost
	generation string
	lost       bool // the server may have lost what it was told: nothing is learned before it has been told again
	stats      SyncStats
	complained time.Duration // when a failure was logged last
	toldAll    time.Duration // when a server that does not say when it started was told everything last
}

// SyncStats count what was done.
type SyncStats struct {
	Learned, Told uint64 // addresses of record, from the server and to it
	Failed        uint64 // attempts
	Waiting       int    // addresses of record on which something is to be done
	LastErr       string // of the last attempt that failed; no address of record is in it
	Restarts      uint64 // of the server that were noticed
}

const (
	workers       = 32
	mostWaiting   = 4096 // that are taken from the table at a time; the rest waits there
	mostJobs      = 1 << 20
	firstAgain    = 500 * time.Millisecond
	lastAgain     = 30 * time.Second
	generationGap = time.Second
	askTimeout    = 5 * time.Second
	tellAgain     = 5 * time.Minute // a server that does not say when it started is told everything so often, lest it has
)

// NewSync makes a Sync.
func NewSync(o SyncOptions) *Sync {
	return &Sync{
		o: o, log: o.Logger.Named("registrar"), lost: true, mute: true, jobs: map[string]*job{},
		wake: make(chan struct{}, 1), seen: make(chan location.Registration, 4*mostWaiting),
	}
}

// Hint takes note that an address of record has changed at the server.
func (s *Sync) Hint(h Hint) {
	if !s.o.Primary() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full(h.AOR) {
		return
	}
	j := s.job(h.AOR)
	j.ask, j.hint = true, h
	s.queue(h.AOR, j)
}

// Seen takes note of a REGISTER that the server has accepted, as the traffic shows it. It never waits.
func (s *Sync) Seen(r location.Registration) {
	if !s.o.Primary() {
		return
	}
	select {
	case s.seen <- r:
	default:
		s.mu.Lock()
		s.stats.Failed++
		s.mu.Unlock()
	}
}

// learn makes hints of what was seen.
func (s *Sync) learn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.seen:
			if err := s.name(ctx, &r); err != nil {
				s.mu.Lock()
				s.complain(ctx, r.AOR, err)
				s.mu.Unlock()
				continue
			}
			s.note(r)
		}
	}
}

// mostSeen is how many REGISTERs for one address of record may wait.
const mostSeen = 64

// note makes a job of a REGISTER that was seen.
func (s *Sync) note(r location.Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Primary() || s.full(r.AOR) {
		return
	}
	j := s.job(r.AOR)
	j.ask, j.hint = true, Hint{AOR: r.AOR, CallID: r.CallID, CSeq: r.CSeq}
	if s.mute && len(j.seen) < mostSeen {
		j.seen = append(j.seen, r)
	}
	s.queue(r.AOR, j)
}

// name gives the address of record the server's own name.
func (s *Sync) name(ctx context.Context, r *location.Registration) error {
	namer, ok := s.o.Server.(Namer)
	if !ok {
		return nil
	}
	name, err := namer.Name(ctx, r.AOR)
	if err == nil {
		r.AOR = name
	}
	return err
}

// ServerLost takes note that the server has ended, or may have: what it was told may be lost.
func (s *Sync) ServerLost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	s.losses++
}

// Run works until ctx ends.
func (s *Sync) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.watch(ctx) })
	wg.Go(func() { s.follow(ctx) })
	wg.Go(func() { s.learn(ctx) })
	wg.Go(func() { s.guard(ctx) })
	for range workers {
		wg.Go(func() { s.work(ctx) })
	}
	<-ctx.Done()
	return nil
}

// watch takes the hints that the server itself gives.
func (s *Sync) watch(ctx context.Context) {
	for pause := firstAgain; ctx.Err() == nil; pause = min(2*pause, lastAgain) {
		err := s.o.Server.Watch(ctx, s.Hint)
		if errors.Is(err, ErrNoPush) || ctx.Err() != nil {
			return
		}
		s.log.Warn("the server's changes can't be watched", zap.Error(err), zap.Duration("again_in", pause))
		rest(ctx, pause)
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// follow takes what the server has to be told, no faster than that gets done.
func (s *Sync) follow(ctx context.Context) {
	for ctx.Err() == nil {
		room := mostWaiting - s.waiting()
		if room <= 0 {
			rest(ctx, 10*time.Millisecond)
			continue
		}
		aors, more := s.o.Table.Take(room)
		s.mu.Lock()
		for _, aor := range aors {
			j := s.job(aor)
			j.tell = true
			s.queue(aor, j)
		}
		s.mu.Unlock()
		if len(aors) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-more:
		}
	}
}

// guard notices when the server has started anew.
func (s *Sync) guard(ctx context.Context) {
	for ctx.Err() == nil {
		s.checkGeneration(ctx)
		gap := generationGap
		if s.isLost() {
			gap /= 10
		}
		rest(ctx, gap)
	}
}

func (s *Sync) lossesSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}

func (s *Sync) isLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *Sync) checkGeneration(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	losses := s.lossesSoFar()
	now, err := s.o.Server.Generation(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if losses != s.losses {
		return // it ended meanwhile: ask again
	}
	if errors.Is(err, ErrCannotAsk) {
		s.lost = false
		if s.toldAll == 0 || s.o.Now()-s.toldAll >= tellAgain {
			s.toldAll = s.o.Now()
			s.o.Table.TakeAll()
		}
		return
	}
	if err != nil {
		return
	}
	if now != s.generation {
		if s.generation != "" {
			s.stats.Restarts++
			s.log.Info("the server has started anew: it is told all registrations again")
		}
		s.generation = now
		s.o.Table.TakeAll()
	}
	s.lost = false
}

// errLost reports that the server has to be told first what it may have lost.
var errLost = errors.New("the server is starting anew")

// do does one job.
func (s *Sync) do(ctx context.Context, aor string, j job) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if j.tell || s.o.Table.Pending(aor) { // before it is asked: it may have lost what it has not been told again
		if err := s.tell(ctx, aor); err != nil {
			return err
		}
	}
	if !j.ask { // a member that has just ceased to be primary still learns what it was told of before: the table knows until when
		return nil
	}
	now, err := s.o.Server.Lookup(ctx, aor)
	switch {
	case errors.Is(err, ErrCannotAsk):
		s.setMute(true)
		if now = j.hint.Bindings; !j.hint.Known {
			if len(j.seen) == 0 {
				return nil
			}
			now = s.o.Table.Get(aor)
			for _, r := range j.seen {
				now = location.Merge(now, r, s.o.Now())
			}
		}
	case err != nil:
		return err
	default:
		s.setMute(false)
	}
	if s.isLost() {
		return errLost
	}
	return s.o.Table.Set(aor, now, j.hint.CallID, j.hint.CSeq)
}

func (s *Sync) setMute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// tell makes the server have what the table has. At the primary phones register all the while, so that what the server has besides, and we have
// not heard of yet, stays.
func (s *Sync) tell(ctx context.Context, aor string) error {
	want := s.o.Table.Get(aor)
	if s.o.Primary() {
		now, err := s.o.Server.Lookup(ctx, aor)
		if err != nil && !errors.Is(err, ErrCannotAsk) {
			return err
		}
		want = location.Union(want, now)
	}
	return s.o.Server.Apply(ctx, aor, want)
}

// Stats tells what was done.
func (s *Sync) Stats() SyncStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = len(s.jobs)
	return st
}
