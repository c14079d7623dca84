package sipserver

import "time"

// TrafficFacts is what an observer of the traffic between the network and the server has found since it last told. Requests are counted
// once, when the first answer to them is seen or when they have waited for long enough that a server at work would have
// answered (half a second); retransmissions and this sidecar's own OPTIONS do not count.
type TrafficFacts struct {
	Requests    int       // that were answered or have waited for too long
	Answered    int       // of Requests: answered, with whatever
	Unavailable int       // of Answered: with 503
	LastAnswer  time.Time // when the server last answered any request; zero: now if Answered is more than 0, else not known
	LastServed  time.Time // when it last did so from a service address; zero: not known
}

const (
	leastRequests = 3               // unanswered since the last answer, before that means anything
	trafficLast   = 5 * time.Second // how long what was seen of the traffic says something
)

// traffic is what is known of the requests that others send.
type traffic struct {
	answered bool
	answer   time.Duration // the last one
	served   time.Duration // the last one from a service address
	serves   bool          // there was one
	open     int           // unanswered requests since then
	asked    time.Duration // the last of them was told of
	refusing bool
	refused  time.Duration // when most requests were last answered with 503
}

// told takes facts. answer is the moment of the last answer, if ok.
func (t *traffic) told(now time.Duration, f TrafficFacts, answer time.Duration, ok bool) {
	if !ok && f.Answered > 0 {
		answer, ok = now, true
	}
	if ok && (!t.answered || answer > t.answer) {
		t.answered, t.answer, t.open = true, answer, 0
	}
	if f.Answered == 0 && f.Requests > 0 {
		t.open += f.Requests
		t.asked = now
	}
	if f.Answered >= leastRequests && 2*f.Unavailable >= f.Answered {
		t.refusing, t.refused = true, now
	}
}

// servedAt takes when a request was last answered from a service address.
func (t *traffic) servedAt(at time.Duration) {
	if !t.serves || at > t.served {
		t.serves, t.served = true, at
	}
}

// unanswered tells whether requests arrive and get no answer.
func (t *traffic) unanswered(now time.Duration) bool {
	return t.open >= leastRequests && now-t.asked < trafficLast
}

// answeredSince tells whether a request was answered since a moment.
func (t *traffic) answeredSince(at time.Duration) bool { return t.answered && t.answer > at }

// overloaded tells whether most requests were answered with 503 lately.
func (t *traffic) overloaded(now time.Duration) bool {
	return t.refusing && now-t.refused < trafficLast
}
