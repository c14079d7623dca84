package supervisor

import (
	"fmt"
	"time"
)

// Timing is every timer of a pair. All of them derive from the preset, so that three nodes with the same file agree.
type Timing struct {
	Renew   time.Duration // R: the primary renews its lease this often
	Suspect time.Duration // D: silence of the primary after which a node may call it silent
	Lease   time.Duration // L: the lease runs this long from the moment the renewal was sent
	Drift   float64       // bound of the relative rate error of a node's raw monotonic clock

	Report      time.Duration // a node repeats its report to the others this often, and at once on a change
	ReportStale time.Duration // a report older than this says nothing any more

	ProbeInterval  time.Duration // own SIP server: one OPTIONS this often
	ProbeSilence   time.Duration // own SIP server: without any answer for this long it hangs
	VantageEvery   time.Duration // service address: one OPTIONS this often; the other members' own addresses: a quarter as often
	VantageSilence time.Duration // without any answer for this long it is dead from here; the other members: four times as long

	RaftHeartbeat time.Duration // hashicorp/raft HeartbeatTimeout and ElectionTimeout
	RaftTransport time.Duration // timeout of one Raft RPC
}

// Preset names a set of timers.
type Preset string

// The presets. default survives a busy small machine; fast wants real-time priority and a quiet network; wan is for nodes up to
// 100 ms apart.
const (
	PresetDefault Preset = "default"
	PresetFast    Preset = "fast"
	PresetWAN     Preset = "wan"
)

// Presets lists them in the order in which help texts name them.
func Presets() []Preset { return []Preset{PresetDefault, PresetFast, PresetWAN} }

// Timing gives the preset's timers.
func (p Preset) Timing() (Timing, error) {
	ms := time.Millisecond
	switch p {
	case PresetDefault:
		return Timing{
			Renew: 20 * ms, Suspect: 60 * ms, Lease: 150 * ms, Drift: 0.001,
			Report: 500 * ms, ReportStale: 2000 * ms,
			ProbeInterval: 60 * ms, ProbeSilence: 180 * ms, VantageEvery: 100 * ms, VantageSilence: 300 * ms,
			RaftHeartbeat: 1000 * ms, RaftTransport: 300 * ms,
		}, nil
	case PresetFast:
		return Timing{
			Renew: 4 * ms, Suspect: 12 * ms, Lease: 32 * ms, Drift: 0.001,
			Report: 250 * ms, ReportStale: 1000 * ms,
			ProbeInterval: 8 * ms, ProbeSilence: 40 * ms, VantageEvery: 15 * ms, VantageSilence: 60 * ms,
			RaftHeartbeat: 500 * ms, RaftTransport: 200 * ms,
		}, nil
	case PresetWAN:
		return Timing{
			Renew: 150 * ms, Suspect: 600 * ms, Lease: 1500 * ms, Drift: 0.001,
			Report: 1000 * ms, ReportStale: 4000 * ms,
			ProbeInterval: 100 * ms, ProbeSilence: 500 * ms, VantageEvery: 200 * ms, VantageSilence: 1500 * ms,
			RaftHeartbeat: 2000 * ms, RaftTransport: 1000 * ms,
		}, nil
	}
	return Timing{}, fmt.Errorf("unknown preset %q (one of default, fast, wan)", string(p))
}

// Promise is L': how long, on its own clock, a voter promises to help nobody else, for a lease of t.Lease whose holder needs guard
// more to stop serving for certain (L' >= L(1+rho)/(1-rho) + G).
func (t Timing) Promise(guard time.Duration) time.Duration {
	return time.Duration(float64(t.Lease)*(1+t.Drift)/(1-t.Drift)) + 500*time.Microsecond + guard
}

// Fence tells what takes the service address from a node whose sidecar no longer runs.
type Fence string

// The fences, strongest first.
const (
	FenceNftables Fence = "nftables" // a set element's timeout gates the address: the kernel closes it before the lease ends
	FenceLifetime Fence = "lifetime" // only the address's valid_lft: the kernel removes it up to 2 s after the lease
	FenceNone     Fence = "none"     // nothing: only the sidecar itself drops the address
)

// Guard is how much longer than its lease a holder with this fence may still be serving. Without any fence a stalled sidecar may hold
// longer than any bound: status says so.
func (f Fence) Guard() time.Duration {
	if f == FenceNftables {
		return 0
	}
	return MaxGuard
}

// MaxGuard is the guard that a restarted voter, which forgot what it promised, has to assume.
const MaxGuard = 2100 * time.Millisecond
