package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// stream is the control stream from one node to another: reports in order, the newest replacing those that wait.
type stream struct {
	up      bool
	keyed   [2]int // runs of sender and receiver that have met
	badFrom time.Duration
	retryAt time.Duration
	waiting *supervisor.Report
	busy    bool
}

// tell passes a report on to both others.
func (w *world) tell(i int, r supervisor.Report) {
	w.nodes[i].report = &r
	for j := range w.nodes {
		if j != i {
			w.streams[i][j].waiting = &r
			w.push(i, j)
		}
	}
}

// push carries the waiting report, one at a time, as long as the stream is up.
func (w *world) push(i, j int) {
	s := &w.streams[i][j]
	if !s.up || s.busy || s.waiting == nil || !w.open(i, j) {
		return
	}
	s.busy = true
	r, keyed := *s.waiting, s.keyed
	s.waiting = nil
	w.after(w.delay(i, j), func() {
		s.busy = false
		if s.up && s.keyed == keyed {
			w.nodes[j].deliver(supervisor.Reported{Report: r})
		}
		w.push(i, j)
	})
}

// streamTick breaks the streams whose connection has been dead for long and opens those that can be.
func (w *world) streamTick() {
	for i := range w.nodes {
		for j := range i {
			w.tend(i, j)
		}
	}
}

func (w *world) tend(i, j int) {
	s, ni, nj := &w.streams[i][j], w.nodes[i], w.nodes[j]
	alive := w.open(i, j) && ni.up && nj.up
	if s.up {
		if alive && s.keyed == [2]int{ni.run, nj.run} {
			s.badFrom = 0
			w.push(i, j)
			w.push(j, i)
			return
		}
		if s.badFrom == 0 {
			s.badFrom = w.now
		}
		if w.now-s.badFrom > 2*w.timing.RaftTransport || w.open(i, j) && !w.nodes[i].hostDown && !w.nodes[j].hostDown {
			w.breakStream(i, j)
		}
		return
	}
	if !alive || ni.frozen || nj.frozen || w.now < s.retryAt {
		return
	}
	w.streams[i][j] = stream{up: true, keyed: [2]int{ni.run, nj.run}, waiting: ni.report}
	w.streams[j][i] = stream{up: true, keyed: [2]int{nj.run, ni.run}, waiting: nj.report}
	w.push(i, j)
	w.push(j, i)
}

// breakStream ends both directions; both ends are told.
func (w *world) breakStream(i, j int) {
	if !w.streams[i][j].up {
		return
	}
	for _, d := range [2][2]int{{i, j}, {j, i}} {
		s := &w.streams[d[0]][d[1]]
		s.up, s.badFrom, s.busy, s.waiting = false, 0, false, nil
		s.retryAt = w.now + w.between(20*time.Millisecond, 150*time.Millisecond)
		w.nodes[d[1]].deliver(supervisor.Lost{Node: ids[d[0]]})
	}
}
