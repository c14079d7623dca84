package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// addressPatience is how long the service address may fail to go up before that is a reason not to serve. The effector repairs most
// failures faster.
const addressPatience = 500 * time.Millisecond

// senses puts together what this node's sensors see, and tells the core whenever it changed. Its methods may be called from any
// goroutine.
type senses struct {
	tell func(supervisor.Event)

	mu      sync.Mutex
	now     supervisor.Sensed
	reasons map[string]supervisor.Reason // by sensor
	address *time.Timer
	held    bool
}

func newSenses(witness bool, tell func(supervisor.Event)) *senses {
	s := &senses{tell: tell, reasons: map[string]supervisor.Reason{}}
	s.now.Members = map[supervisor.NodeID]supervisor.View{}
	if !witness {
		s.reasons["server"] = supervisor.ReasonServerStart
		s.now.Reasons = []supervisor.Reason{supervisor.ReasonServerStart}
	}
	return s
}

// change applies f and passes the whole on.
func (s *senses) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.now.Reasons = slices.Compact(slices.Sorted(maps.Values(s.reasons))) // two sensors may give one reason
	sensed := s.now
	sensed.Members = maps.Clone(s.now.Members)
	s.tell(sensed) // inside the lock, so that the core gets them in order
}

func (s *senses) reason(sensor string, r supervisor.Reason) {
	if r == "" {
		delete(s.reasons, sensor)
		return
	}
	s.reasons[sensor] = r
}

// server is this member's own SIP server. deaf is since when nothing listens, by the raw monotonic clock, if that is the reason.
func (s *senses) server(v supervisor.View, r supervisor.Reason, deaf time.Duration) {
	s.change(func() {
		s.now.Server, s.now.Deaf = v, deaf
		s.reason("server", r)
	})
}

func (s *senses) service(v supervisor.View) { s.change(func() { s.now.Service = v }) }

func (s *senses) member(id supervisor.NodeID, v supervisor.View) {
	s.change(func() { s.now.Members[id] = v })
}

// traffic is what was seen of the SIP traffic. The core is told only what it may act upon: silence, and its end.
func (s *senses) traffic(t supervisor.Traffic) {
	s.mu.Lock()
	last := s.now.Traffic
	s.mu.Unlock()
	if t.AllOut || last.AllOut || t.Watched != last.Watched || t.At-last.At > 5*time.Second {
		s.change(func() { s.now.Traffic = t })
	}
}

// nic is one of the interfaces that this member needs.
func (s *senses) nic(name string, r supervisor.Reason, up bool) {
	s.change(func() {
		s.reason(name, "")
		if !up {
			s.reason(name, r)
		}
	})
}

func (s *senses) store(err error) {
	s.change(func() {
		s.reason("store", "")
		if err != nil {
			s.reason("store", supervisor.ReasonStore)
		}
	})
}

// addressIs passes the effector's word on. A failure that lasts becomes a reason.
func (s *senses) addressIs(r supervisor.AddressReport) {
	s.tell(supervisor.AddressIs{AddressReport: r})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = r.Held && r.Err == nil
	switch {
	case r.Err == nil:
		if s.address != nil {
			s.address.Stop()
			s.address = nil
			go s.change(func() { s.reason("address", "") })
		}
	case s.address == nil:
		var t *time.Timer
		t = time.AfterFunc(addressPatience, func() {
			s.change(func() {
				if s.address == t {
					s.reason("address", supervisor.ReasonAddress)
				}
			})
		})
		s.address = t
	}
}

// holds reports whether the service address is up here, by the effector's word.
func (s *senses) holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}
