package status

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Device is a SIP device that this node checks (oos). Only the primary checks any.
type Device struct {
	Name      string      `json:"name"`
	URI       string      `json:"uri"`
	State     DeviceState `json:"state"`
	Confirmed bool        `json:"confirmed"` // false: in service because nothing says otherwise
	Since     *time.Time  `json:"since"`     // of the state; null: not known
	Code      int         `json:"code"`      // SIP status code on which the state rests; 0: none
	RTTMS     float64     `json:"rtt_ms"`    // of the last positive answer; 0: none
	Text      string      `json:"text"`      // for people: "200 in 1.2ms", "no answer for 5s"
}

// DeviceState is what is known of a device.
type DeviceState string

// The states of a device.
const (
	DeviceInService    DeviceState = "in-service"
	DeviceOutOfService DeviceState = "out-of-service" // by its own probes
	DeviceFailed       DeviceState = "failed"         // by a request of somebody else's
	DeviceUnchecked    DeviceState = "unchecked"      // nobody asks it
)

// Out reports whether nothing should be sent to the device.
func (d Device) Out() bool { return d.State == DeviceOutOfService || d.State == DeviceFailed }

// TrafficSource is how the SIP traffic is observed.
type TrafficSource string

// The sources.
const (
	SourceCapture TrafficSource = "capture" // packets on the interface
	SourceHEP     TrafficSource = "hep"     // copies that the SIP server sends (HEP v3)
)

// Traffic is the SIP traffic between the network and this node. Counters count since the daemon started.
type Traffic struct {
	InPerS      int           `json:"in_per_s"` // messages per second over the last 10 s
	OutPerS     int           `json:"out_per_s"`
	LastInMS    int64         `json:"last_in_ms"` // how long ago; -1: never
	LastOutMS   int64         `json:"last_out_ms"`
	AnswerRatio *float64      `json:"answer_ratio"` // of the requests decided in the last 10 s; null: there were none
	Unanswered  uint64        `json:"unanswered"`   // requests found to be so within the last 10 s
	ParseErrors uint64        `json:"parse_errors"`
	Dropped     uint64        `json:"dropped"` // packets that were not read in time
	Source      TrafficSource `json:"source"`
}

// Silence is where the rule about SIP silence (sip-pass-check) stands on this node. Build fills NextMS.
type Silence struct {
	Watched  bool  `json:"watched"`   // the rule applies: it is switched on and a device is checked
	PeriodMS int64 `json:"period_ms"` // without the factor
	Factor   int   `json:"factor"`    // of the double-switchover rule: 1 to 4
	QuietMS  int64 `json:"quiet_ms"`  // how long no SIP message has come, at most since this node serves
	NextMS   int64 `json:"next_ms"`   // to the next trigger; -1: none, as a device is in service or this node is not primary
	AllOut   bool  `json:"all_out"`   // every checked device is out of service
}

// NIC is a monitored interface of this node.
type NIC struct {
	Name     string     `json:"name"` // of the monitor: "sip-nic"
	Link     string     `json:"link"`
	Address  string     `json:"address"` // that it must carry; empty: any
	Up       bool       `json:"up"`
	Flapping bool       `json:"flapping"` // it changes too often to be relied upon
	Text     string     `json:"text"`     // for people: "no carrier on eth1"
	Since    *time.Time `json:"since"`    // of Up; null: not known
}

// Socket is where this member's own SIP server listens. Sizes are octets, Drops counts since the sockets were opened.
type Socket struct {
	ReceiveQueue  int   `json:"receive_queue"`  // UDP: not yet read by the server, with the kernel's overhead
	ReceiveBuffer int   `json:"receive_buffer"` // UDP: the limit of it
	Drops         int   `json:"drops"`          // datagrams and connections thrown away by the kernel
	Backlog       int   `json:"backlog"`        // TCP connections that wait to be accepted
	Listening     bool  `json:"listening"`
	MissingMS     int64 `json:"missing_ms"` // how long nothing has been listening; 0 while something does
}

// Alarm is an active alarm of the pair.
type Alarm struct {
	ID        uint64              `json:"id"` // 0 while it is pending
	Condition string              `json:"condition"`
	Object    string              `json:"object"` // the node, device or address that it is about
	Severity  supervisor.Severity `json:"severity"`
	EventID   string              `json:"event_id"` // "00-52027"; empty: none
	Text      string              `json:"text"`
	Evidence  string              `json:"evidence"`
	Node      supervisor.NodeID   `json:"node"` // who raised it
	First     time.Time           `json:"first"`
	Last      time.Time           `json:"last"` // newest detection
	Count     int                 `json:"count"`
	AckedBy   string              `json:"acked_by"` // who takes care of it; empty: nobody
	Pending   bool                `json:"pending"`  // only this node knows of it: no majority could be asked yet
	Ended     *AlarmEnd           `json:"ended,omitempty"`
}

// AlarmEnd says how an alarm ended.
type AlarmEnd struct {
	At   time.Time          `json:"at"`
	By   string             `json:"by"`             // node or operator
	How  supervisor.AlarmOp `json:"how"`            // "cancel", "timeout", "hand" or "displaced"
	Note string             `json:"note,omitempty"` // of the operator
}

// Grave reports whether an alarm is critical or major.
func (a Alarm) Grave() bool { return a.Severity.Rank() >= supervisor.SeverityMajor.Rank() }

// Millis is d in milliseconds with three decimals, as the document has it.
func Millis(d time.Duration) float64 { return millis(d) }
