package metrics

import (
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// Source is what is asked at each scrape, from any goroutine.
type Source func() Sample

// Sample is what a node knows at one moment.
type Sample struct {
	status.Snapshot
	History  []supervisor.Switchover // oldest first, as in the record
	Counters Counters
	Contacts *status.Contacts // nil where nobody keeps registrations
}

// Counters count since the process started. What is nil or has no value at this node has no series.
type Counters struct {
	MessagesIn, MessagesOut map[string]uint64 // SIP messages by method ("INVITE") or class ("2xx"); other words count as "other"
	HooksDropped            uint64            // notifications that were too many for the notify hook
}

// Options say whose metrics they are.
type Options struct {
	Cluster  string
	Node     supervisor.NodeID
	Version  string
	Revision string // of the source; may be empty
	Source   Source
	Logger   *zap.Logger
}

// Metrics is a registry with all that a node shows.
type Metrics struct {
	registry *prometheus.Registry
	log      *zap.Logger
}

// New checks the options and names the metrics.
func New(o Options) (*Metrics, error) {
	if o.Source == nil || o.Logger == nil || o.Cluster == "" || o.Node == "" {
		return nil, errors.New("metrics: a cluster, a node, a source and a logger are needed")
	}
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		newCollector(o, time.Now()),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return &Metrics{registry: r, log: o.Logger.Named("metrics")}, nil
}

// Registry is where the metrics are gathered from.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// How much a scrape may cost.
const (
	scrapesAtOnce = 4
	scrapeLimit   = 5 * time.Second
)

// Handler serves the page, in whichever of Prometheus' formats the client asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: complaint{m.log}, ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeLimit,
		EnableOpenMetrics: true, DisableCompression: true,
	})
}

// complaint logs what the library has to say.
type complaint struct{ log *zap.Logger }

func (c complaint) Println(v ...any) {
	for _, x := range v {
		if err, ok := x.(error); ok {
			c.log.Warn("metrics not gathered", zap.Error(err))
		}
	}
}

var goVersion = runtime.Version()
