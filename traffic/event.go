package traffic

import "time"

// Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	CaptureBroke Kind = "capture broke"       // Source and Err are set. It is tried again all the time
	CaptureBack  Kind = "capture back"        // Source is set
	Heard        Kind = "first after silence" // a message came: the first one, or the first after Options.Silence. After is set
)

// Event is something that happens rarely.
type Event struct {
	Kind   Kind
	Source string        // name of the interface, or HEP and its address
	Err    error         // why the capture broke
	After  time.Duration // how long nothing had come; 0 with the first message since the start
}
