package registrar

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// job is what is to be done for one address of record.
type job struct {
	tell   bool // the server is to be told
	ask    bool // the server is to be asked, or has told
	hint   Hint
	seen   []location.Registration // in order, for a server that can't be asked
	busy   bool
	tries  int
	failed bool // and waits to be tried again
	queued bool
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

// job is the job of an address of record. The lock is held.
func (s *Sync) job(aor string) *job {
	j := s.jobs[aor]
	if j == nil {
		j = &job{}
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

func (s *Sync) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) - s.failing
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
		s.queue(aor, j)
	case !j.failed:
		delete(s.jobs, aor)
	}
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
	}
	if j.ask {
		s.stats.Learned++
	}
}
