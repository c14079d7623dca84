package main

import (
	"container/heap"
	"time"
)

// event is something that the world does at a moment of global time.
type event struct {
	at  time.Duration
	seq uint64 // events of one moment happen in the order in which they were asked for
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// after has do happen d from now.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at: w.now + max(0, d), seq: w.seq, do: do})
}

// run lets time pass until a moment, or until an invariant is broken.
func (w *world) run(until time.Duration) {
	for w.broken == "" && len(w.queue) > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.check()
	}
	if w.broken == "" {
		w.now = max(w.now, until)
	}
}
