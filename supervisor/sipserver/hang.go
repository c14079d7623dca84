package sipserver

import (
	"fmt"
	"time"
)

// DefaultHangAfter is Options.HangAfter where that is 0.
const DefaultHangAfter = 1500 * time.Millisecond

const (
	leniency   = time.Second            // added to HangAfter while the server waits for the processor
	relook     = 20 * time.Millisecond  // how often to look while a hang is being decided
	relookIdle = 250 * time.Millisecond // how often to look at a server that only fails to answer OPTIONS
	lateLook   = 500 * time.Millisecond // longer between two looks proves nothing: this process did not run
)

// hang is the decision whether the server hangs. It takes two of three: OPTIONS gets no answer, what arrives at the sockets is not
// read, other requests get no answer; for HangAfter without a break. Processes that can't run count as two at once.
type hang struct {
	after  time.Duration
	look   looks
	looked time.Duration // when the last look was
	from   time.Duration // what was before proves nothing: nobody looked
	why    string        // it hangs, and why; "" if it does not
	others bool          // with why: that is so whatever becomes of the probes
	at     time.Duration // since when it does
}

// silent tells whether probes get no answer at all.
func (j *judge) silent() bool { return j.known.Class == classDead && !j.refused }

// wantsLook tells whether the states of processes and sockets matter now, and how soon again.
func (j *judge) wantsLook(now time.Duration) (again time.Duration, ok bool) {
	if (j.hang.why != "" && !j.hang.others) || !(j.silent() || j.traffic.unanswered(now)) {
		return 0, false
	}
	_, stuck := j.queues.stuck()
	if stuck || (j.silent() && now-j.quiet < j.hang.after+leniency) {
		return relook, true
	}
	return relookIdle, true
}

// looked takes the states of the processes. What the sockets hold has to be told before.
func (j *judge) looked(now time.Duration, l looks) {
	if now-j.hang.looked > lateLook {
		j.hang.from = now
	}
	j.hang.look, j.hang.looked = l, now
	if j.hang.why != "" && !j.hang.others {
		return // until an answer comes
	}
	hung := j.hang.why != ""
	if j.hang.why, j.hang.others = j.agreed(now); !hung {
		j.hang.at = now
	}
}

// observed takes what was seen of the traffic. answer is when the last request was answered, if ok.
func (j *judge) observed(now time.Duration, f TrafficFacts, answer time.Duration, ok bool) {
	j.traffic.told(now, f, answer, ok)
	if j.traffic.answeredSince(j.hang.at) {
		j.hang.why = ""
	}
}

// agreed says on what the evidence agrees, "" if it doesn't, and whether that is without the probes.
func (j *judge) agreed(now time.Duration) (why string, others bool) {
	l := j.hang.look
	if j.silent() && l.all > 0 && l.stopped == l.all {
		return fmt.Sprintf("%d of %d processes are stopped", l.stopped, l.all), false
	}
	patience := j.hang.after
	if l.starved {
		patience += leniency
	}
	if j.traffic.answeredSince(now - patience) {
		return "", false
	}
	lasts := func(since time.Duration) bool { return now-max(since, j.hang.from) >= patience }
	silent := j.silent() && lasts(j.quiet)
	since, stuck := j.queues.stuck()
	stuck = stuck && lasts(since)
	ignored := j.traffic.unanswered(now)
	switch {
	case silent && stuck:
		return "what arrives is not read" + j.queues.facts.text(), false
	case silent && ignored, stuck && ignored:
		return fmt.Sprintf("%d other requests got no answer", j.traffic.open), !silent
	case silent && !j.queues.seen:
		return "its sockets cannot be seen", false
	}
	return "", false
}

// optionsDead tells that OPTIONS has had no answer for so long that the server would hang if anything else said so.
func (j *judge) optionsDead(now time.Duration) bool {
	return j.silent() && j.hang.why == "" && now-j.quiet >= j.hang.after
}

// overloaded tells that the server answers, and has more to do than it can.
func (j *judge) overloaded(now time.Duration) bool {
	works := j.known.Class == classServing || j.known.Class == classDraining || j.traffic.answeredSince(now-trafficLast)
	return works && (j.known.Class == classDraining || j.queues.overflowed(now) || j.traffic.overloaded(now))
}

// busy tells that requests of others are answered at the service address while more of them wait than should. Whoever gets no answer in time
// from such a server has found no broken path to it. The queues alone would not do: those who work for the service address may hang.
func (j *judge) busy(now time.Duration) bool {
	return j.queues.waits && j.traffic.serves && now-j.traffic.served < servingLast
}

// doubt says for people what speaks for and against a server that does not answer OPTIONS.
func (j *judge) doubt(now time.Duration) string {
	switch {
	case j.hang.look.starved:
		return "but its processes wait for the processor" + j.hang.look.text()
	case j.traffic.answeredSince(j.quiet):
		return "but other requests are answered"
	case j.optionsDead(now):
		return "but what arrives at its sockets is read"
	default:
		return "not yet for long enough to be a hang"
	}
}

// text is what a queue adds to a sentence.
func (q Queue) text() string {
	s := ""
	if q.Unread > 0 {
		s += fmt.Sprintf("; %d octets unread", q.Unread)
	}
	if q.Backlog > 0 {
		s += fmt.Sprintf("; %d connections not accepted", q.Backlog)
	}
	return s
}
