package traffic

import "time"

// Methods are those that are counted apart (RFC 3261, 3262, 3265, 3311, 3428, 3515, 3903, 6086); all others are "other".
var Methods = [...]string{
	"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE",
	"other",
}

// Classes are the classes of status codes.
var Classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "6xx"}

// Counts are messages of one direction since the start.
type Counts struct {
	Requests  [len(Methods)]uint64 // by the index in Methods
	Responses [len(Classes)]uint64 // by the index in Classes
}

// Total is their sum.
func (c Counts) Total() (n uint64) {
	for _, k := range c.Requests {
		n += k
	}
	for _, k := range c.Responses {
		n += k
	}
	return n
}

// Stats is what was seen since the start. Moments are those of raw.Clock, 0 for never.
type Stats struct {
	Capturing bool   // all sources are open
	In, Out   Counts // from the network to this host, and from it to the network
	Local     uint64 // messages from this host to itself
	Pair      uint64 // OPTIONS between the pair's nodes, and the answers

	ParseErrors uint64 // what came from the network to a SIP port and was no message, or lacks headers that every message has
	KeepAlives  uint64 // from the network: empty lines, NULs, STUN
	RecordsIn   uint64 // TLS records that are long enough for a message
	RecordsOut  uint64
	Dropped     uint64 // packets that the kernel dropped because they were not read in time

	// The last message, or TLS record that may be one, that came from the network or went there.
	LastIn, LastOut time.Duration

	// Requests from the network, other than ACK, by whether this host sent a response, a provisional one included, within
	// Options.Patience. One that is sent again is the same request.
	Open          int    // they still may be
	Answered      uint64 // within the last 10 s
	Unanswered    uint64 // found so within the last 10 s
	AnsweredAll   uint64 // since the start
	UnansweredAll uint64
	Forgotten     uint64 // there were more open ones than the table holds, which is 65536

	InvitesAnswered uint64 // INVITEs from the network with an answer above 100
	// The last first response above 100 to a request from the network that was at most 5 s old: evidence that requests of others are worked
	// on. LastServed is the last of these that came from one of Options.Service.
	LastAnswer  time.Duration
	LastServed  time.Duration
	Unavailable uint64 // responses with 503 to the network

	// Of REGISTERs from the network, if Options.Registered is given.
	Registrations          uint64 // told
	RegistrationsRefused   uint64 // accepted by the server, but out of bounds or unreadable
	RegistrationsForgotten uint64 // there were more without a final answer than are kept
}

// AnswerRatio gives the part of the requests that was answered, of those that were decided within the last 10 s. ok is false if there were
// none.
func (s Stats) AnswerRatio() (ratio float64, ok bool) {
	if s.Answered+s.Unanswered == 0 {
		return 0, false
	}
	return float64(s.Answered) / float64(s.Answered+s.Unanswered), true
}

func methodIndex(method []byte) int {
	switch string(method) {
	case "INVITE":
		return invite
	case "ACK":
		return ack
	case "BYE":
		return 2
	case "CANCEL":
		return 3
	case "OPTIONS":
		return options
	case "REGISTER":
		return 5
	case "PRACK":
		return 6
	case "SUBSCRIBE":
		return 7
	case "NOTIFY":
		return 8
	case "PUBLISH":
		return 9
	case "INFO":
		return 10
	case "REFER":
		return 11
	case "MESSAGE":
		return 12
	case "UPDATE":
		return 13
	}
	return len(Methods) - 1
}

// Some indices in Methods.
const (
	invite  = 0
	ack     = 1
	options = 4
)
