package sipserver

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	settle   = 3 * time.Second       // Kamailio needs 1.8 s to come down after a worker died
	youth    = 2 * time.Second       // a holder of the socket that lived shorter is a helper
	recent   = time.Second           // a serving view older than this proves nothing about now
	leniency = time.Second           // silence more than usual while the server waits for the processor
	relook   = 20 * time.Millisecond // how often to look meanwhile
)

// holder is a process that holds a watched socket.
type holder struct {
	pid, parent int
	name        string // as in /proc/PID/comm
	program     string // the file it runs
	since       time.Duration
}

// exit is the end of a holder. orderly is true if it is known to have exited with 0.
type exit struct {
	pid     int
	orderly bool
	how     string // "signal 9 (killed)"; "" if unknown
}

// sight is what one scan of sockets and processes found.
type sight struct {
	missing string   // what nobody listens on, or who does not; "" if all is there
	holders []holder // alive, with since unset
	gone    []int    // holders of before that live but let go of the sockets
}

// looks is one look at the states of the server's processes.
type looks struct {
	all, stopped, waiting int  // processes; waiting are runnable
	starved               bool // those that are runnable mostly wait for the processor
	unread                int  // octets in the sockets' receive queues
}

// fault is the end of a process from which the server has not yet recovered.
type fault struct {
	text    string
	at      time.Duration
	main    bool
	orphans map[int]bool // main: who held the sockets then
}

// judge combines the evidence. It has neither I/O nor a clock: now is any monotonic time.
type judge struct {
	watching bool // there are sockets to watch
	seen     bool // a scan was made
	served   bool // it was found serving since it listens
	missing  string
	present  time.Duration // since when nothing is missing
	holders  map[int]holder
	main     int // 0 if unknown
	fault    *fault

	view    supervisor.View
	known   supervisor.View // the last that is not unknown
	refused bool
	heard   time.Duration // when known came
	quiet   time.Duration // since when known says silent
	hung    bool          // a look found no excuse for the silence
	excused bool
	look    looks
}

func newJudge(watching bool) *judge {
	return &judge{
		watching: watching, holders: map[int]holder{},
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
	j.served = j.served || v.Class == supervisor.ClassServing
	if !j.silent() {
		j.hung, j.excused = false, false
	} else if !wasSilent {
		j.quiet = now
	}
	j.recover(now)
}

// silent tells whether probes get no answer at all.
func (j *judge) silent() bool { return j.known.Class == supervisor.ClassDead && !j.refused }

// wantsLook tells whether the states of the processes matter now.
func (j *judge) wantsLook() bool { return j.silent() && !j.hung }

// looked takes the states of the processes. Silence without an excuse stays a hang until the next answer.
func (j *judge) looked(now time.Duration, l looks) {
	j.look = l
	if j.wantsLook() {
		j.excused = l.starved && now-j.quiet < leniency
		j.hung = !j.excused
	}
}

// scanned takes what a scan found.
func (j *judge) scanned(now time.Duration, s sight) {
	if j.missing != "" {
		j.present = now
	}
	j.seen, j.missing = true, s.missing
	j.served = j.served && s.missing == ""
	for _, pid := range s.gone {
		delete(j.holders, pid)
	}
	for _, h := range s.holders {
		if old, ok := j.holders[h.pid]; ok {
			h.since = old.since
		} else {
			h.since = now
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
		orphans := map[int]bool{}
		for pid := range j.holders {
			orphans[pid] = true
		}
		j.fault = &fault{text: h.end(e), at: now, main: true, orphans: orphans}
		return
	}
	worker := j.main != 0 && h.program == j.holders[j.main].program
	if worker && !young && !e.orderly && j.fault == nil {
		j.fault = &fault{text: h.end(e), at: now}
	}
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
	if j.fault == nil || j.missing != "" || j.known.Class != supervisor.ClassServing || now-j.heard > recent || j.main == 0 {
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

// verdict is the reason why the server can't serve, "" if it can, and the evidence for people.
func (j *judge) verdict() (supervisor.Reason, string) {
	switch {
	case j.watching && !j.seen:
		return supervisor.ReasonServerStart, "not looked at yet"
	case j.fault != nil && j.missing != "":
		return supervisor.ReasonServerDead, j.fault.text + "; " + j.missing
	case j.fault != nil:
		return supervisor.ReasonServerDead, j.fault.text
	case j.missing != "":
		return supervisor.ReasonServerDead, j.missing
	case j.refused && j.known.Class == supervisor.ClassDead:
		return supervisor.ReasonServerDead, j.known.Text
	case j.hung:
		return supervisor.ReasonServerHung, j.known.Text + j.look.text()
	case j.known.Class == supervisor.ClassDraining:
		return supervisor.ReasonServerDrain, j.known.Text
	case j.served && j.silent():
		return "", j.known.Text + ", but its processes wait for the processor" + j.look.text()
	case j.known.Class == supervisor.ClassServing && j.heard >= j.present:
		return "", j.view.Text
	case j.known.Class == supervisor.ClassServing:
		return supervisor.ReasonServerStart, "it listens again and was not asked since"
	default:
		return supervisor.ReasonServerStart, j.view.Text
	}
}

// text is what the look adds to the words of the probe.
func (l looks) text() string {
	s := ""
	if l.stopped > 0 {
		s = fmt.Sprintf("; %d of %d processes are stopped", l.stopped, l.all)
	} else if l.waiting > 0 {
		s = fmt.Sprintf("; %d of %d processes are runnable", l.waiting, l.all)
	}
	if l.unread > 0 {
		s += fmt.Sprintf("; %d octets unread in its sockets", l.unread)
	}
	return s
}

// thread is how a thread is right now.
type thread struct {
	state  byte          // as in /proc/PID/stat
	waited time.Duration // for the processor, since it began
}

func has(threads map[int]thread, states string) bool {
	for _, t := range threads {
		if strings.IndexByte(states, t.state) >= 0 {
			return true
		}
	}
	return false
}

// starving is how much of the time between two looks a runnable thread has to wait for the processor to count as starved. One that
// spins without answering runs instead.
const starving = 0.25

// starved tells whether a runnable thread waits for the processor. Without a look before, every runnable one may.
func starved(before, now map[int]thread, elapsed time.Duration) bool {
	if before == nil {
		return has(now, "R")
	}
	for tid, t := range now {
		old, ok := before[tid]
		if ok && t.state == 'R' && float64(t.waited-old.waited) >= starving*float64(elapsed) {
			return true
		}
	}
	return false
}
