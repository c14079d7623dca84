package main

import (
	"fmt"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// trace keeps the last lines of what happened, for people. A nil trace keeps nothing and costs nothing.
type trace struct {
	keep  int
	lines []string
}

func (w *world) note(i int, format string, args ...any) {
	t := w.trace
	if t == nil {
		return
	}
	who, local := "*", ""
	if i >= 0 {
		who = string(ids[i])
	}
	if len(t.lines) >= 2*t.keep {
		t.lines = append(t.lines[:0], t.lines[t.keep:]...)
	}
	t.lines = append(t.lines, fmt.Sprintf("%12s %s%s  ", w.now.Round(time.Microsecond), who, local)+fmt.Sprintf(format, args...))
}

func (t *trace) tail() []string { return t.lines[max(0, len(t.lines)-t.keep):] }

func (w *world) noteEvent(i int, ev supervisor.Event) {
	if w.trace == nil {
		return
	}
	switch ev := ev.(type) {
	case supervisor.Received:
		m := ev.Message
		w.note(i, "<- %s %s epoch %d seq %d wait %v", ev.From, m.Kind, m.Epoch, m.Seq, m.Wait)
	case supervisor.Applied:
		w.note(i, "applied epoch %d of %s, synced %v", ev.Record.Epoch, ev.Record.Primary, ev.Synced)
	case supervisor.Led:
		w.note(i, "raft leader is %q", ev.Leader)
	case supervisor.Refused:
		w.note(i, "refused %s: %v", entryText(ev.Entry), ev.Err)
	case supervisor.Lost:
		w.note(i, "lost the stream of %s", ev.Node)
	case supervisor.Sensed:
		w.note(i, "senses %v, server %s, service %s, members %v", ev.Reasons, ev.Server.Class, ev.Service.Class, ev.Members)
	case supervisor.AddressIs:
		w.note(i, "address held %v, epoch %d serial %d, err %v", ev.Held, ev.Epoch, ev.Serial, ev.Err)
	case supervisor.Leave:
		w.note(i, "is asked to leave")
	case supervisor.Reported:
		r := ev.Report
		w.note(i, "report of %s: %s epoch %d ready %v %v", r.Node, r.State, r.Epoch, r.Ready, r.Reasons)
	}
}

func entryText(e supervisor.Entry) string {
	switch {
	case e.Role != nil:
		return fmt.Sprintf("epoch %d for %s (%s: %s)", e.Role.Epoch, e.Role.To, e.Role.Trigger, e.Role.Reason)
	case e.Pause != nil:
		return "pause"
	default:
		return "resume"
	}
}
