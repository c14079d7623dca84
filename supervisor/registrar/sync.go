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

// SyncOptions configure a Sync. All but Log are needed.
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

// job is what is to be done for one address of record.
type job struct {
	tell   bool // the server is to be told
	ask    bool // the server is to be asked, or has told
	hint   Hint
	seen   []location.Registration // in order, for a server that can't be asked
	busy   bool
	tries  int
	failed bool          // and waits to be tried again
	since  time.Duration // since when it waits
	queued bool
}

// SyncStats count what was done.
type SyncStats struct {
	Learned, Told uint64        // addresses of record, from the server and to it
	Failed        uint64        // attempts
	Waiting       int           // addresses of record on which something is to be done
	LastErr       string        // of the last attempt that failed; no address of record is in it
	Slowest       time.Duration // from knowing that the server has to be told until it had been, of late
	Restarts      uint64        // of the server that were noticed
	CannotReach   bool          // the server does not answer those who ask about registrations
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
	return &Sync{o: o, log: o.Logger.Named("registrar"), lost: true, mute: true, jobs: map[string]*job{}, wake: make(chan struct{}, 1), seen: make(chan location.Registration, 4*mostWaiting)}
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

// full reports whether there is no room for another job: the server changes faster than it can be asked, and the next change of this address of
// record tells again. The lock is held.
func (s *Sync) full(aor string) bool {
	if len(s.jobs) < mostJobs || s.jobs[aor] != nil {
		return false
	}
	s.stats.Failed++
	return true
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

// job is the job of an address of record. The lock is held.
func (s *Sync) job(aor string) *job {
	j := s.jobs[aor]
	if j == nil {
		j = &job{since: s.o.Now()}
		s.jobs[aor] = j
	}
	return j
}

// queue makes a job be worked on. The lock is held.
func (s *Sync) queue(aor string, j *job) {
	if j.queued || j.busy {
		return
	}
	j.queued = true
	s.ready = append(s.ready, aor)
	s.signal()
}

func (s *Sync) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
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

func (s *Sync) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) - s.failing
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
	s.stats.CannotReach = err != nil && !errors.Is(err, ErrCannotAsk)
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

// work works on one address of record after the other.
func (s *Sync) work(ctx context.Context) {
	for {
		aor, j := s.next()
		if j == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
			}
			continue
		}
		err := s.do(ctx, aor, *j)
		s.done(ctx, aor, j, err)
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes a job, or none. What it gives is as it was when it began.
func (s *Sync) next() (string, *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 {
		aor := s.ready[0]
		if s.ready = s.ready[1:]; len(s.ready) > 0 {
			s.signal() // for the next worker
		}
		j := s.jobs[aor]
		if j == nil {
			continue
		}
		j.queued = false
		if j.busy {
			continue // whoever is at it queues it again
		}
		j.busy = true
		if j.failed {
			j.failed = false
			s.failing--
		}
		began := *j
		j.tell, j.ask, j.seen = false, false, nil
		return aor, &began
	}
	return "", nil
}

// Alone does something about an address of record while nobody else does.
func (s *Sync) Alone(ctx context.Context, aor string, do func() error) error {
	for !s.seize(aor) {
		rest(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	err := do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(aor)
	return err
}

// seize makes an address of record busy, if it is not.
func (s *Sync) seize(aor string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(aor)
	if j.busy {
		return false
	}
	j.busy = true
	return true
}

// release ends that. What has come up meanwhile is done next. The lock is held.
func (s *Sync) release(aor string) {
	j := s.jobs[aor]
	j.busy = false
	switch {
	case j.ask || j.tell:
		j.since = s.o.Now()
		s.queue(aor, j)
	case !j.failed:
		delete(s.jobs, aor)
	}
}

// errLost reports that the server has to be told first what it may have lost.
var errLost = errors.New("the server is starting anew")

// do does one job.
func (s *Sync) do(ctx context.Context, aor string, j job) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if j.tell {
		if err := s.tell(ctx, aor); err != nil {
			return err
		}
	}
	if !j.ask { // a member that has just ceased to be primary still learns what it was told of before: the table knows until when
		return nil
	}
	if !j.tell && s.o.Table.Pending(aor) { // the server may have lost what it has not been told again: that first
		if err := s.tell(ctx, aor); err != nil {
			return err
		}
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

// done ends a job, or has it done again.
func (s *Sync) done(ctx context.Context, aor string, began *job, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[aor]
	if err == nil {
		j.tries = 0
		s.count(began)
		s.release(aor)
		return
	}
	j.busy = false
	j.ask, j.tell = j.ask || began.ask, j.tell || began.tell
	j.seen = append(began.seen, j.seen...)
	if j.hint.AOR == "" {
		j.hint = began.hint
	}
	j.tries++
	j.failed = true
	s.failing++
	s.stats.Failed++
	s.stats.LastErr = err.Error()
	s.complain(ctx, aor, err)
	pause := min(firstAgain<<min(j.tries-1, 10), lastAgain)
	if errors.Is(err, errLost) {
		pause, j.tries = generationGap/10, 0
	}
	j.queued = true
	time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ready = append(s.ready, aor)
		s.signal()
	})
}

// complainEvery is how often a log line says that attempts fail: a server that is away fails for everybody.
const complainEvery = 10 * time.Second

// complain logs one of the attempts that failed of late. The lock is held.
func (s *Sync) complain(ctx context.Context, aor string, err error) {
	now := s.o.Now()
	if errors.Is(err, errLost) || ctx.Err() != nil || s.complained != 0 && now-s.complained < complainEvery {
		return
	}
	s.complained = now
	s.log.Warn("server and table can't be kept equal so far", zap.String("aor", location.Masked(aor)), zap.Error(err), zap.Int("waiting", len(s.jobs)))
}

// count counts what was done. The lock is held.
func (s *Sync) count(j *job) {
	if j.tell {
		s.stats.Told++
		s.stats.Slowest = max(s.stats.Slowest, s.o.Now()-j.since)
	}
	if j.ask {
		s.stats.Learned++
	}
}

// Stats tells what was done.
func (s *Sync) Stats() SyncStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = len(s.jobs)
	s.stats.Slowest = 0
	return st
}
