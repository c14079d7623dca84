package status

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Snapshot is the status document: the pair as one node knows it at one moment. Its JSON keys are stable: keys are added, never
// renamed, moved or given another meaning. Lists are never null. Times are RFC 3339, durations milliseconds.
type Snapshot struct {
	Cluster    string                 `json:"cluster"`
	Node       supervisor.NodeID      `json:"node"` // who answers
	At         time.Time              `json:"at"`   // when, by that node's wall clock
	Verdict    Verdict                `json:"verdict"`
	Epoch      supervisor.Epoch       `json:"epoch"`
	Primary    supervisor.NodeID      `json:"primary"` // named by the role record; empty: none was ever chosen
	Since      *time.Time             `json:"since"`   // of the epoch; null for epoch 0
	Quorum     Quorum                 `json:"quorum"`
	Paused     *supervisor.Pause      `json:"paused"` // null: automatic switchovers are on
	Budget     Budget                 `json:"budget"`
	Preset     supervisor.Preset      `json:"preset"`
	Addresses  []string               `json:"service_addresses"`
	RaftLeader supervisor.NodeID      `json:"raft_leader"` // as far as this node knows; empty: none
	Nodes      []Node                 `json:"nodes"`       // in the order of the configuration
	Last       *supervisor.Switchover `json:"last_switchover"`
	Problems   []string               `json:"problems"` // sentences; any of them makes the verdict degraded or worse
	Notes      []string               `json:"notes"`    // sentences worth knowing that change no verdict

	// What this node itself senses; null or empty where it senses no such thing.
	AddressUp *bool    `json:"address_up"` // the service addresses are on its interface, as the kernel tells; null: not known
	Devices   []Device `json:"devices"`    // in the order of the configuration
	Traffic   *Traffic `json:"traffic"`
	Silence   *Silence `json:"silence"`
	NICs      []NIC    `json:"nics"`
	Socket    *Socket  `json:"socket"`
	Alarms    []Alarm  `json:"alarms"` // active ones of the whole pair, the gravest first
}

// Quorum counts the voters that are heard, this node among them.
type Quorum struct {
	Have int `json:"have"`
	Of   int `json:"of"`
}

// Lost reports whether the heard voters are no majority.
func (q Quorum) Lost() bool { return q.Have <= q.Of/2 }

// Budget is what is left of the switchovers that rest on a judgement.
type Budget struct {
	Left  int        `json:"left"`
	Of    int        `json:"of"`
	PerMS int64      `json:"per_ms"`
	Next  *time.Time `json:"next"` // when the next one becomes free; null while any is left
}

// Node is one voter as this node knows it from its last report.
type Node struct {
	Name           supervisor.NodeID   `json:"name"`
	Role           supervisor.Role     `json:"role"`  // "none" while the node is not heard
	State          supervisor.State    `json:"state"` // empty while the node is not heard
	Witness        bool                `json:"witness"`
	Heard          bool                `json:"heard"`  // its report is fresh; else what follows is the last that was known
	AgeMS          int64               `json:"age_ms"` // of its report; -1: never heard since this node started
	Epoch          supervisor.Epoch    `json:"epoch"`  // of the record that it has applied
	Ready          bool                `json:"ready"`
	Reasons        []supervisor.Reason `json:"reasons"`
	SIPAddress     string              `json:"sip_address"`
	Server         View                `json:"server"`          // its own SIP server, as it sees it
	Service        View                `json:"service"`         // the service address, as seen from there
	Members        map[string]View     `json:"members"`         // the other members' SIP servers, as seen from there
	ServiceAddress bool                `json:"service_address"` // it holds the service address
	LeaseLeftMS    float64             `json:"lease_left_ms"`   // of its lease when it reported; 0 without one
	Fence          supervisor.Fence    `json:"fence"`
	ConfigHash     string              `json:"config_hash"`
	Version        string              `json:"version"`
	RaftLeader     bool                `json:"raft_leader"`
}

// View is what one node sees of one SIP target.
type View struct {
	Class supervisor.Class `json:"class"`
	Code  int              `json:"code"`   // last SIP status code; 0 without one
	RTTMS float64          `json:"rtt_ms"` // of the last answer
	Text  string           `json:"text"`   // for people
}

func viewOf(v supervisor.View) View {
	if v.Class == "" {
		v.Class = supervisor.ClassUnknown
	}
	return View{Class: v.Class, Code: v.Code, RTTMS: millis(v.RTT), Text: v.Text}
}

// millis keeps three decimals: the document shall not change in digits that nobody reads.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
