package vip

import "time"

// sentry judges whether the addresses are as the role wants them. Pure: every input carries the moment, and the answer is what to do.
//
//	ok      mismatch after the grace        tell the failure, repair        fixing
//	fixing  match                           tell the success                ok
//	fixing  mismatch, a grace after repair  tell that it persists           bad
//	fixing  too many mismatches             tell that it persists           bad
//	bad     mismatch                        repair, more and more seldom    bad
//	bad     match                           tell the success                ok
//	any     role change                     what persisted is void          ok, with grace
//
// A match ends an episode at once, unless the last episode ended a short time ago: then somebody keeps changing the addresses, and the
// match has to last, each time twice as long.
type sentry struct {
	grace, poll time.Duration

	turn    uint64 // of the wish. 0: nobody said yet what is wanted
	wanted  bool
	health  Health
	match   bool
	open    bool          // a failure was told, its end not yet
	due     time.Duration // ok: no mismatch counts before. fixing: a mismatch then persists
	wrongs  int           // changes from match to mismatch in this episode
	retry   backoff       // of repairs
	since   time.Duration // of match, or of mismatch
	calm    time.Duration // how long a match has to last to end the episode
	ended   time.Duration // when the last episode ended. never: none
	busy    bool          // the effector is at work
	trusted time.Duration // it is believed to be, until then
	wake    time.Duration // as wakeAt said after the newest judgement
}

// verdict is what follows from a judgement.
type verdict int

const (
	tellFailure verdict = iota
	orderRepair
	tellPersistent
	tellSuccess
	tellVoid
)

const (
	wrongLimit   = repairLimit // so many mismatches in one episode persist, however short they are
	busyPatience = time.Minute // an effector that is at work for longer does not keep us from judging
	calmGrowth   = 8           // a match lasts so many graces at most before it counts
	flapSpan     = 10          // graces between two episodes that have nothing to do with each other
)

func newSentry(grace, poll time.Duration) *sentry {
	return &sentry{
		grace: grace, poll: poll, health: HealthOK, match: true, ended: never, wake: never,
		retry: backoff{first: grace, last: max(grace, poll)},
	}
}

// want takes what the role wants, and the turn of that wish.
func (s *sentry) want(now time.Duration, present bool, turn uint64) []verdict {
	if turn == s.turn && present == s.wanted {
		return nil
	}
	was := s.health
	s.turn, s.wanted = turn, present
	s.health, s.match, s.since = HealthOK, true, now
	s.due, s.trusted, s.ended, s.calm, s.wrongs = now+s.grace, now+busyPatience, never, 0, 0
	s.retry.reset()
	s.wake = s.wakeAt(now)
	if was == HealthBad {
		return []verdict{tellVoid}
	}
	return nil
}

// see takes whether the addresses are as wanted, and whether the effector is at work: what it works at isn't judged before a grace
// after it has ended.
func (s *sentry) see(now time.Duration, match, busy bool) []verdict {
	if s.turn == 0 {
		return nil
	}
	defer func() { s.wake = s.wakeAt(now) }()
	if busy && !s.busy {
		s.trusted = max(s.trusted, now+busyPatience)
	}
	if s.busy = busy; busy && now < s.trusted {
		s.due = max(s.due, now+s.grace)
	}
	fresh := match != s.match
	if fresh {
		s.match, s.since = match, now
	}
	switch {
	case s.health == HealthOK && now < s.due:
		return nil
	case match:
		return s.fine(now)
	case s.health == HealthOK:
		return s.fail(now)
	}
	return s.still(now, fresh)
}

// fine is a match. A failure of the old role ends with the first one of the new role.
func (s *sentry) fine(now time.Duration) []verdict {
	if !s.open || s.health != HealthOK && now < s.since+s.calm {
		return nil
	}
	s.health, s.open, s.ended, s.due = HealthOK, false, now, now
	return []verdict{tellSuccess}
}

// fail begins an episode.
func (s *sentry) fail(now time.Duration) []verdict {
	switch {
	case s.ended == never || now-s.ended > flapSpan*s.grace:
		s.calm = 0
	default:
		s.calm = min(max(2*s.calm, s.grace), calmGrowth*s.grace)
	}
	s.health, s.open, s.wrongs, s.due = HealthFixing, true, 1, now+s.grace
	s.retry.reset()
	s.retry.failed(now)
	return []verdict{tellFailure, orderRepair}
}

// still is a mismatch in an episode.
func (s *sentry) still(now time.Duration, fresh bool) []verdict {
	var all []verdict
	if s.health == HealthFixing {
		if fresh {
			s.wrongs++
			s.due = max(s.due, now+s.grace)
		}
		if now >= s.due || s.wrongs >= wrongLimit {
			s.health = HealthBad
			all = append(all, tellPersistent)
		}
	}
	if s.retry.ready(now) && !(s.busy && now < s.trusted) {
		s.retry.failed(now)
		all = append(all, orderRepair)
	}
	return all
}

// wakeAt is the next moment at which see may judge the same differently.
func (s *sentry) wakeAt(now time.Duration) time.Duration {
	switch {
	case s.turn == 0:
		return never
	case s.health == HealthOK:
		return laterThan(now, never, s.due)
	case s.match:
		return laterThan(now, never, s.since+s.calm)
	}
	at := laterThan(now, never, s.retry.at)
	if s.health == HealthFixing {
		at = laterThan(now, at, s.due)
	}
	return at
}

// overdue reports whether a moment that wakeAt gave has come since see was called last.
func (s *sentry) overdue(now time.Duration) bool { return s.wake <= now }
