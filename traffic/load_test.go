package traffic

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/location"
	"github.com/understudy-sip/understudy/supervisor/raw"
	"github.com/understudy-sip/understudy/traffic/sip"
)

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// patientRing is how long the ring lasts while the monitor gets no processor, with a margin.
const patientRing = 300 * time.Millisecond

// lateness is the longest time that a message lay in the ring: more than some 20 ms only if the machine is busy otherwise.
type lateness struct {
	count   int
	longest atomic.Int64
}

func (l *lateness) watch(_ *sip.Message, meta Meta) {
	if l.count++; l.count%32 == 0 {
		if late := int64(raw.Clock() - meta.At); late > l.longest.Load() {
			l.longest.Store(late)
		}
	}
}

func (l *lateness) get() time.Duration { return time.Duration(l.longest.Load()) }

// load has other processes exchange OPTIONS and responses of 450 octets, twice rate of them a second, and gives how many messages that were
// and what it cost the monitor, which must not miss any.
func load(t testing.TB, rate int, seconds float64) (messages uint64, used, took time.Duration) {
	t.Helper()
	h := newFar(t)
	var late lateness
	o := standard()
	o.OnMessage = late.watch
	o.Registered = func(location.Registration) {} // somebody listens
	m := run(t, o)
	server := spawn(t, nil, "answer", here4+":5060")
	began, start := processorTime(t), time.Now()
	asked := spawn(t, &h, "ask", here4+":5060", rate, seconds).wait()
	took = time.Since(start)
	answered := server.end()
	used = processorTime(t) - began
	sent := asked.Sent + answered.Sent
	s := await(t, m, "all messages", func(s Stats) bool { return s.In.Total()+s.Out.Total()+s.Dropped >= sent })
	switch longest := late.get(); {
	case s.Dropped > 0 && longest > patientRing:
		t.Logf("%d packets dropped: the monitor was kept from running for %v", s.Dropped, longest)
	case s.In.Total() != asked.Sent || s.Out.Total() != answered.Sent || s.Dropped > 0 || s.ParseErrors > 0:
		t.Errorf("got %d in, %d out, %d dropped, %d errors; %d and %d were sent",
			s.In.Total(), s.Out.Total(), s.Dropped, s.ParseErrors, asked.Sent, answered.Sent)
	case answered.Sent == asked.Sent && (s.AnsweredAll != asked.Sent || s.UnansweredAll != 0):
		t.Errorf("got %d answered, %d not, want %d and none", s.AnsweredAll, s.UnansweredAll, asked.Sent)
	}
	return sent, used, took
}

// No message is lost at 20,000/s, unless the monitor is kept from running for longer than the ring lasts: then each loss is counted.
func TestMonitor_load(t *testing.T) {
	messages, used, took := load(t, 10_000, 3)
	t.Logf("%d messages in %v (%.0f/s), %.2f µs of processor time each", messages, took, float64(messages)/took.Seconds(),
		float64(used.Nanoseconds())/1000/float64(messages))
}

// Processor time at 20,000 messages/s, by getrusage: go test -run '^$' -bench Monitor_load -benchtime 1x ./traffic.
func BenchmarkMonitor_load(b *testing.B) {
	for b.Loop() {
		messages, used, took := load(b, 10_000, 10)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(messages)/took.Seconds(), "messages/s")
		b.ReportMetric(float64(used.Nanoseconds())/1000/float64(messages), "cpu-µs/message")
		b.ReportMetric(float64(used)/float64(took)*100, "%core")
		b.ReportMetric(float64(used.Nanoseconds())/1000/float64(messages)*20_000/1e6*100, "%core-at-20000/s")
	}
}

// What the monitor costs while next to nothing happens: one request and its answer a second, and the rings.
// go test -run '^$' -bench Monitor_idle -benchtime 1x ./traffic.
func BenchmarkMonitor_idle(b *testing.B) {
	h := newFar(b)
	run(b, standard())
	server := spawn(b, nil, "answer", here4+":5060")
	for b.Loop() {
		began, start := processorTime(b), time.Now()
		spawn(b, &h, "ask", here4+":5060", 1, 10).wait()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(processorTime(b)-began)/float64(time.Since(start))*100, "%core")
	}
	server.end()
}
