package oos

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// finding is what the present class rests on.
type finding uint8

const (
	nothing finding = iota // not probed long enough to tell
	answer                 // a SIP answer
	refusal                // somebody said that nobody serves there
	silence                // no answer
	trouble                // nothing can be sent from here
)

// machine judges one target. It has neither I/O nor a clock: now is any monotonic time.
type machine struct {
	limit time.Duration // of silence
	rise  int

	class  supervisor.Class
	basis  finding
	code   int
	rtt    time.Duration
	usual  time.Duration // round trip, smoothed
	detail string        // of a refusal or of trouble
	quiet  time.Duration // of silence: since when

	heard time.Duration // when silence began: the last answer or refusal, the start, or the end of a window that we were late in
	asked int           // probes without an answer since heard
	first time.Duration // the first of them
	good  int           // good answers in a row
	doubt bool          // it was dead or draining and has not yet given rise good answers in a row
	stuck bool          // the last probe could not be sent
}

func newMachine(limit time.Duration, rise int, now time.Duration) machine {
	if rise == 0 {
		rise = DefaultRise
	}
	return machine{limit: limit, rise: rise, class: supervisor.ClassUnknown, heard: now}
}

// sent says that a probe is on its way.
func (m *machine) sent(now time.Duration) {
	if m.stuck && m.basis == trouble {
		m.heard, m.asked = now, 0 // nobody was asked until now
	}
	m.stuck = false
	if m.asked == 0 {
		m.first = now
	}
	m.asked++
}

// unsent says that a probe could not be sent, for a reason on this side.
func (m *machine) unsent(detail string) {
	m.stuck, m.good, m.detail = true, 0, detail
}

// answered says that a probe was answered with a final status code.
func (m *machine) answered(now time.Duration, code int, rtt time.Duration) {
	switch {
	case code < 200:
		return // not an answer yet
	case code == 408 || code == 504: // some hop behind the responder did not answer
		m.good = 0
		return
	}
	m.heard, m.asked, m.rtt = now, 0, rtt
	if m.usual == 0 {
		m.usual = rtt
	}
	m.usual += (rtt - m.usual) / 8 // as TCP does (RFC 6298 2.3)
	if code == 503 {
		m.class, m.basis, m.code = supervisor.ClassDraining, answer, code
		m.good, m.doubt = 0, true
		return
	}
	m.good++
	if m.doubt && m.good < m.rise {
		return
	}
	m.class, m.basis, m.code, m.doubt = supervisor.ClassServing, answer, code, false
}

// refused says that the target, or the host it runs on, refused to be asked.
func (m *machine) refused(now time.Duration, detail string) {
	m.heard, m.asked = now, 0
	m.die(refusal, detail)
}

// late says that this process did not look in time: what it did not hear meanwhile proves nothing.
func (m *machine) late(now time.Duration) { m.heard, m.asked = now, 0 }

// judge draws the conclusion from silence. Everything that has arrived has to be told before.
func (m *machine) judge(now time.Duration) {
	switch {
	case now-m.heard < m.limit:
	case m.stuck:
		m.class, m.basis = supervisor.ClassUnknown, trouble
	case m.asked >= leastAsked:
		m.die(silence, "")
		m.quiet = m.heard
	}
}

func (m *machine) die(why finding, detail string) {
	m.class, m.basis, m.detail, m.code = supervisor.ClassDead, why, detail, 0
	m.good, m.doubt = 0, true
}

// deadline is when judge may have something new to say without an event; ok is false if only events can tell.
func (m *machine) deadline() (at time.Duration, ok bool) {
	return m.heard + m.limit, m.asked >= leastAsked && m.basis != silence && !m.stuck
}

// refusedText begins the text of every view that rests on a refusal.
const refusedText = "refused"

// Refused reports whether a dead target was refused explicitly, as opposed to silent.
func Refused(v supervisor.View) bool {
	return v.Class == supervisor.ClassDead && strings.HasPrefix(v.Text, refusedText)
}

func (m *machine) view(now time.Duration) supervisor.View {
	return supervisor.View{Class: m.class, Code: m.code, RTT: m.rtt, Text: m.text(now)}
}

func (m *machine) text(now time.Duration) string {
	switch m.basis {
	case answer:
		return fmt.Sprintf("%d in %.1fms", m.code, float64(m.rtt)/float64(time.Millisecond))
	case refusal:
		if m.detail != "" {
			return refusedText + ": " + m.detail
		}
		return refusedText
	case silence:
		if m.good > 0 {
			return "answers again"
		}
		return fmt.Sprintf("no answer for %v", (now - m.quiet).Round(time.Millisecond))
	case trouble:
		return m.detail
	}
	return "not probed yet"
}
