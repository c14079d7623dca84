package sipserver

import (
	"fmt"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	settle = 3 * time.Second // Kamailio needs 1.8 s to come down after a worker died
	youth  = 2 * time.Second // a holder of the socket that lived shorter is a helper
	recent = time.Second     // a serving view older than this proves nothing about now

	classServing  = supervisor.ClassServing
	classDraining = supervisor.ClassDraining
	classDead     = supervisor.ClassDead
)

// holder is a process that holds a watched socket.
type holder struct {
	pid, parent int
	origin      int    // its parent when it was first seen
	name        string // as in /proc/PID/comm
	program     string // the file it runs
	since       time.Duration
}

// exit is the end of a holder. orderly is true if it is known to have exited with 0.
type exit struct {
	pid     int
	orderly bool
	how     string // "signal 9 (killed)"; "" if unknown
	cause   Cause
}

// sight is what one scan of sockets and processes found.
type sight struct {
	missing string   // what nobody listens on, or who does not; "" if all is there
	lives   string   // with missing: the server's process that lives all the same; "" if none was seen
	anew    bool     // with lives: it was started after the one that was seen to listen
	holders []holder // alive, with since unset
	gone    []int    // holders of before that live but let go of the sockets
}

// fault is the end of a process from which the server has not yet recovered.
type fault struct {
	text    string
	cause   Cause
	at      time.Duration
	main    bool
	orphans map[int]bool // main: what it left behind
}

// judge combines the evidence. It has neither I/O nor a clock: now is any monotonic time.
type judge struct {
	watching bool // there are sockets to watch
	seen     bool // a scan was made
	served   bool // it was found serving since it listens
	ran      bool // something listened since this process started
	missing  string
	lives    string        // as in sight
	present  time.Duration // since when nothing is missing
	lost     time.Duration // since when something is missing
	holders  map[int]holder
	main     int // 0 if unknown
	fault    *fault

	view    supervisor.View
	known   supervisor.View // the last that is not unknown
	refused bool
	heard   time.Duration // when known came
	quiet   time.Duration // since when known says silent
	probes  string        // the transport that is probed

	queues  queues
	traffic traffic
	hang    hang
}

// newJudge judges a server whose first listening socket, which is the one that is probed, has this transport: "" if no socket is
// watched.
func newJudge(transport string, hangAfter time.Duration) *judge {
	probes := transport
	if probes == "tls" {
		probes = "tcp"
	}
	return &judge{
		watching: transport != "", holders: map[int]holder{}, probes: probes, queues: newQueues(), hang: hang{after: hangAfter},
		view:  supervisor.View{Class: supervisor.ClassUnknown, Text: "not probed yet"},
		known: supervisor.View{Class: supervisor.ClassUnknown},
	}
}

// probed takes a probe's view. An unknown one changes nothing: it says that nobody could ask.
func (j *judge) probed(now time.Duration, v supervisor.View, refused bool) {
	j.view = v
	if v.Class == supervisor.ClassUnknown {
		return
	}
	wasSilent := j.silent()
	j.known, j.refused, j.heard = v, refused, now
	j.served = j.served || v.Class == classServing
	if !j.silent() && !j.hang.others {
		j.hang.why = ""
	}
	if j.silent() && !wasSilent {
		j.quiet, j.hang.from = now, now
	}
	if v.Class == classServing || v.Class == classDraining {
		j.queues.wasRead(now, j.probes)
	}
	j.recover(now)
}

// scanned takes what a scan found.
func (j *judge) scanned(now time.Duration, s sight) {
	if j.missing != "" {
		j.present = now
	} else if s.missing != "" {
		j.lost = now
	}
	j.seen, j.missing, j.lives = true, s.missing, s.lives
	j.served = j.served && s.missing == ""
	j.ran = j.ran || s.missing == ""
	if s.anew {
		j.fault = nil // whoever ended, somebody else tries now
	}
	for _, pid := range s.gone {
		delete(j.holders, pid)
	}
	for _, h := range s.holders {
		if old, ok := j.holders[h.pid]; ok {
			h.since, h.origin = old.since, old.origin
		} else {
			h.since, h.origin = now, h.parent
		}
		j.holders[h.pid] = h
	}
	if _, ok := j.holders[j.main]; !ok {
		j.main = j.eldest()
	}
	j.recover(now)
}

// eldest finds the main process: the holder whose parent holds nothing, by preference one that came after the last main one ended.
func (j *judge) eldest() int {
	best := 0
	for pid, h := range j.holders {
		if _, child := j.holders[h.parent]; child || j.orphan(pid) {
			continue
		}
		if b, ok := j.holders[best]; !ok || h.since < b.since || (h.since == b.since && pid < best) {
			best = pid
		}
	}
	return best
}

func (j *judge) orphan(pid int) bool { return j.fault != nil && j.fault.orphans[pid] }

// exited takes the end of a process.
func (j *judge) exited(now time.Duration, e exit) {
	h, ok := j.holders[e.pid]
	if !ok {
		return
	}
	delete(j.holders, e.pid)
	young := now-h.since < youth
	if e.pid == j.main {
		j.main = 0
		if (e.orderly || (young && e.how == "")) && len(j.holders) > 0 {
			return // it handed over: a daemon that goes to the background, a reload
		}
		j.fault = &fault{text: h.end(e), cause: e.cause, at: now, main: true, orphans: j.descendants(e.pid)}
		return
	}
	worker := j.main != 0 && h.program == j.holders[j.main].program
	if worker && !young && !e.orderly && j.fault == nil {
		j.fault = &fault{text: h.end(e), cause: e.cause, at: now}
	}
}

// descendants are the holders that a process has started, and those that they have. One that came from elsewhere is none, though it may be
// seen before the end of the old main process is told: that of a server which was started again.
func (j *judge) descendants(of int) map[int]bool {
	found := map[int]bool{}
	for more := true; more; {
		more = false
		for pid, h := range j.holders {
			if !found[pid] && (h.origin == of || found[h.origin]) {
				found[pid], more = true, true
			}
		}
	}
	return found
}

// end says how it ended.
func (h holder) end(e exit) string {
	text := fmt.Sprintf("process %d (%s) ended", h.pid, h.name)
	if e.how != "" {
		text += ", " + e.how
	}
	return text
}

// recover forgets a fault that the server has got over.
func (j *judge) recover(now time.Duration) {
	if j.fault == nil || j.missing != "" || j.known.Class != classServing || now-j.heard > recent || j.main == 0 {
		return
	}
	since := j.fault.at + settle
	if j.fault.main {
		since = j.holders[j.main].since
	}
	if j.heard > since {
		j.fault = nil
	}
}
