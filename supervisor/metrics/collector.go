package metrics

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// collector turns a Sample into series. Between scrapes it keeps nothing but how many switchovers it has counted.
type collector struct {
	o       Options
	n       *names
	started time.Time

	mu       sync.Mutex
	counted  supervisor.Epoch // the newest epoch that is in switched, or too old for it
	switched map[supervisor.Trigger]uint64
}

func newCollector(o Options, started time.Time) *collector {
	return &collector{o: o, n: newNames(o.Cluster, string(o.Node)), started: started, switched: map[supervisor.Trigger]uint64{}}
}

// Describe names everything that Collect can give.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.n.all {
		ch <- d
	}
}

// Collect asks the source and tells what it said.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.o.Source()
	p := page{Sample: s, n: c.n, ch: ch, seen: map[series]bool{}}
	for _, v := range s.Nodes {
		if v.Name == c.o.Node {
			p.self = v
		}
	}
	p.gauge(c.n.build, 1, c.o.Version, c.o.Revision, goVersion)
	p.pair()
	p.peers()
	p.probes()
	p.sensors()
	p.traffic()
	p.alarms()
	p.contacts()
	for trigger, n := range c.count(s.History) {
		p.counter(c.n.switchovers, n, string(trigger))
	}
}

// count adds the switchovers that have happened since the last scrape. Those from before this process started are no part of its count:
// the record brings them along when it is first applied, and after a restart they would all be counted anew. A primary that is chosen
// again has not switched.
func (c *collector) count(history []supervisor.Switchover) map[supervisor.Trigger]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range history {
		if h.Epoch <= c.counted {
			continue
		}
		c.counted = h.Epoch
		if h.From != h.To && !h.At.Before(c.started) {
			c.switched[h.Trigger]++
		}
	}
	all := make(map[supervisor.Trigger]uint64, len(triggers))
	for _, t := range triggers { // from 0 on, so that the first one is seen as an increase
		all[t] = 0
	}
	for t, n := range c.switched {
		all[t] = n
	}
	return all
}

var triggers = [...]supervisor.Trigger{
	supervisor.TriggerFirst, supervisor.TriggerSilent, supervisor.TriggerReleased, supervisor.TriggerServer, supervisor.TriggerNIC,
	supervisor.TriggerAddress, supervisor.TriggerPath, supervisor.TriggerLeave, supervisor.TriggerOperator, supervisor.TriggerSilence,
	supervisor.TriggerListener,
}

// page is one scrape.
type page struct {
	Sample
	self status.Node
	n    *names
	ch   chan<- prometheus.Metric
	seen map[series]bool
}

// series is a metric with the values of its labels.
type series struct {
	of     *prometheus.Desc
	labels string
}

func (p *page) gauge(d *prometheus.Desc, v float64, labels ...string) {
	p.emit(d, prometheus.GaugeValue, v, labels)
}

func (p *page) counter(d *prometheus.Desc, v uint64, labels ...string) {
	p.emit(d, prometheus.CounterValue, float64(v), labels)
}

// emit passes a value on. Prometheus takes no labels but UTF-8 and no series twice: what a careless name would cost is that one series,
// not the page.
func (p *page) emit(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?")
	}
	key := series{d, strings.Join(labels, "\xff")}
	if p.seen[key] {
		return
	}
	p.seen[key] = true
	p.ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
}

func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
