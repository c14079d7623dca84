package device

import "time"

// schedule has one moment for each of a fixed number of things and finds the earliest: a binary heap that knows where each one is.
type schedule struct {
	at    []time.Duration // of each thing
	heap  []int32         // things, the earliest first
	place []int32         // of each thing in heap
}

func newSchedule(n int) *schedule {
	s := &schedule{at: make([]time.Duration, n), heap: make([]int32, n), place: make([]int32, n)}
	for i := range n {
		s.at[i], s.heap[i], s.place[i] = never, int32(i), int32(i)
	}
	return s
}

// first gives the earliest thing and its moment.
func (s *schedule) first() (thing int32, at time.Duration) {
	if len(s.heap) == 0 {
		return 0, never
	}
	return s.heap[0], s.at[s.heap[0]]
}

// set gives a thing another moment.
func (s *schedule) set(thing int32, at time.Duration) {
	before := s.at[thing]
	s.at[thing] = at
	switch {
	case at < before:
		s.up(int(s.place[thing]))
	case at > before:
		s.down(int(s.place[thing]))
	}
}

func (s *schedule) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if s.at[s.heap[parent]] <= s.at[s.heap[i]] {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *schedule) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.at[s.heap[child]] < s.at[s.heap[least]] {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

func (s *schedule) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.place[s.heap[i]], s.place[s.heap[j]] = int32(i), int32(j)
}
