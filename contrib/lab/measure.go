package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// How a fault is measured.
const (
	// quiet is how long the service has to answer everything before the fault is taken for over.
	quiet = 400 * time.Millisecond
	// outageLimit is how long the service may be away before the fault is healed all the same.
	outageLimit = 8 * time.Second
	// HealthLimit bounds how long the pair may take to become healthy, before a fault and after it was healed.
	HealthLimit = time.Minute
)

// Result is what one fault cost.
type Result struct {
	Supervisor string `json:"supervisor"`
	Fault      string `json:"fault"`
	Primary    string `json:"primary"` // before the fault; empty if there was none and so no fault

	// During is what the client saw from just before the fault until it was healed; Healing is from then until the pair was healthy again.
	During  Outage `json:"during"`
	Healing Outage `json:"healing"`
	// Both is how long more than one member answered for a service address, from the fault until the pair was healthy again.
	Both time.Duration `json:"both_ns"`
	// Lasted is how long the fault lasted, Recovery how long the pair needed afterwards until it was healthy. The first contains waiting
	// for what might still happen: neither is an outage.
	Lasted   time.Duration `json:"lasted_ns"`
	Recovery time.Duration `json:"recovery_ns"`
	// Stall is the longest time for which the observer itself was held up.
	Stall time.Duration `json:"stall_ns"`
	// Stolen is the processor time that the hypervisor gave to others, from just before the fault until the pair was healthy again.
	Stolen time.Duration `json:"stolen_ns"`
	// Seen is how long it took until the supervisor noticed, SeenAs by what; 0 if it doesn't tell, or did not.
	Seen   time.Duration `json:"seen_ns,omitempty"`
	SeenAs string        `json:"seen_as,omitempty"`
	// RSS is the resident memory of the primary's sidecar at the end of a fault that is weighed, in MiB.
	RSS float64 `json:"rss_mb,omitempty"`
	// Load is what the phones noticed, for faults with load.
	Load *LoadResult `json:"load,omitempty"`
	// Unhealthy tells why the run can't be trusted, or did not end well: the pair was not healthy before, or not again afterwards.
	Unhealthy string `json:"unhealthy,omitempty"`
}

// strayed reports whether anybody but the primary answered while the fault lasted.
func (r Result) strayed() bool {
	return slices.ContainsFunc(r.During.Servers, func(s string) bool { return s != r.Primary })
}

// Moved reports whether another member served when the fault was healed.
func (r Result) Moved() bool {
	n := len(r.During.Servers)
	return n > 0 && r.During.Servers[n-1] != r.Primary
}

// Measure waits until the pair is healthy, injects a fault, heals it when it has shown what it does, and waits until the pair is healthy again.
// An error means that the lab failed; what the pair fails at is in the result.
func (l *Lab) Measure(ctx context.Context, f Fault) (Result, error) {
	r := Result{Fault: f.Name}
	if l.sup == nil {
		return r, ErrNoSupervisor
	}
	r.Supervisor = l.sup.Name()
	err := l.Healthy(ctx) // as it is after the run before
	if err != nil {
		err = l.waitHealthy(ctx)
	}
	if err != nil {
		r.Unhealthy = "before the fault: " + err.Error()
		return r, errors.Join(ctx.Err(), l.Heal())
	}
	if d, ok := l.sup.(Detector); ok {
		if err := d.Forget(); err != nil {
			r.Unhealthy = "before the fault: " + err.Error()
			return r, ctx.Err()
		}
	}
	load, err := l.startLoad(f.Load)
	if err != nil {
		return r, err
	}
	before := stolen()
	injection, err := l.Inject(f)
	if errors.Is(err, ErrNoPrimary) { // it was healthy a moment ago: that is a result, not the end of all others
		r.Unhealthy = "just before the fault: " + err.Error()
		return r, errors.Join(load.stop(), l.Heal(), ctx.Err())
	}
	if err != nil {
		return r, errors.Join(err, load.stop(), l.Heal())
	}
	r.Primary = injection.Primary
	l.awaitEffect(ctx, injection)
	if err := l.detected(&r, injection); err != nil {
		r.Unhealthy = "in the fault: " + err.Error()
	}
	if f.Weigh {
		if r.RSS, err = rssOf(SidecarPIDs(l.sup, r.Primary)); err != nil {
			return r, errors.Join(err, load.stop(), l.Heal())
		}
	}
	healed := Now()
	if err := l.Heal(); err != nil {
		return r, errors.Join(fmt.Errorf("heal %s: %w", f.Name, err), load.stop())
	}
	if err := l.waitHealthy(ctx); err != nil {
		r.Unhealthy = "after the fault: " + err.Error()
	}
	end := Now()
	if r.Load, err = load.result(ctx); err != nil {
		return r, err
	}
	l.fill(&r, injection, healed, end)
	r.Stolen = stolen() - before
	return r, ctx.Err()
}

// detected adds when the supervisor noticed the fault, as the member says that the fault is not at.
func (l *Lab) detected(r *Result, in *Injection) error {
	d, ok := l.sup.(Detector)
	if !ok {
		return nil
	}
	at, what, err := d.Detected(Peer(in.Primary), in.Wall)
	if err != nil || at.IsZero() {
		return err
	}
	r.Seen, r.SeenAs = max(at.Sub(in.Wall), 1), what
	return nil
}

// fill adds what the client and the observer saw of a fault.
func (l *Lab) fill(r *Result, in *Injection, healed, end time.Duration) {
	time.Sleep(AnswerLimit) // the last requests may still be answered
	asks, samples := l.Client.Window(in.At, end), l.Observer.Window(in.At, end)
	r.During, r.Healing = MeasureOutage(asks, in.At, healed), MeasureOutage(asks, healed, end)
	r.Both, r.Stall = TwoHolders(samples, in.At, end), Stall(samples, in.At, end)
	r.Lasted, r.Recovery = healed-in.At, end-healed
}

// Watch waits until a fault has shown what it does and tells what that was. The fault stays.
func (l *Lab) Watch(ctx context.Context, in *Injection) Result {
	l.awaitEffect(ctx, in)
	r := Result{Supervisor: l.sup.Name(), Fault: in.Fault.Name, Primary: in.Primary}
	now := Now()
	l.fill(&r, in, now, now)
	return r
}

func (l *Lab) waitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, HealthLimit)
	defer cancel()
	return l.WaitHealthy(ctx)
}

// awaitEffect returns when a fault has shown what it does: it has lasted as long as it has to, its later part is over, and the service
// answers quietly, by another member than before or after the time in which any reaction could be expected. Or when that takes too long.
func (l *Lab) awaitEffect(ctx context.Context, in *Injection) {
	select {
	case <-in.done:
	case <-ctx.Done():
		return
	}
	over := Now() // what follows later is over
	enough := in.At
	if hold := in.Fault.Hold; hold > 0 {
		enough += max(hold, l.sup.Horizon())
	}
	end := max(over, enough)
	if !in.Fault.Down { // else nothing comes back before it is healed
		end += outageLimit
	}
	for ctx.Err() == nil && Now() < end {
		time.Sleep(10 * time.Millisecond)
		to := Now() - settled
		if to-quiet < in.At || Now() < enough {
			continue
		}
		server, err := steady(l.Client.Window(to-quiet, to), to-quiet)
		if err == nil && (server != in.Primary || Now() > over+l.sup.Horizon()) {
			return
		}
	}
}
