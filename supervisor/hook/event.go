package hook

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Event is what a hook is told, as JSON on its standard input and in its environment.
type Event struct {
	Event   string            `json:"event"` // "role", or the stable name of an alert
	Node    supervisor.NodeID `json:"node"`  // this node
	Cluster string            `json:"cluster"`
	Role    supervisor.Role   `json:"role"`
	State   supervisor.State  `json:"state"`
	Epoch   supervisor.Epoch  `json:"epoch"`
	Primary supervisor.NodeID `json:"primary"` // empty if there is none
	Why     string            `json:"why"`     // a sentence for people
	Object  string            `json:"object"`  // what it is about, if not this node: the name of a device
	At      time.Time         `json:"at"`
}

// command is the program's call for the event.
func (e Event) command(argv []string, limit time.Duration) (Command, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return Command{}, err
	}
	return Command{Argv: argv, Env: e.environ(), Stdin: append(body, '\n'), Limit: limit}, nil
}

func (e Event) environ() []string {
	return []string{
		"UNDERSTUDY_EVENT=" + e.Event,
		"UNDERSTUDY_NODE=" + string(e.Node),
		"UNDERSTUDY_CLUSTER=" + e.Cluster,
		"UNDERSTUDY_ROLE=" + string(e.Role),
		"UNDERSTUDY_STATE=" + string(e.State),
		"UNDERSTUDY_EPOCH=" + strconv.FormatUint(uint64(e.Epoch), 10),
		"UNDERSTUDY_PRIMARY=" + string(e.Primary),
		"UNDERSTUDY_WHY=" + e.Why,
		"UNDERSTUDY_OBJECT=" + e.Object,
	}
}
