package lab

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Freeze is how long sidecar-frozen lasts.
const Freeze = 6 * time.Second

// How long some faults last.
const (
	bothDown   = 2 * time.Second         // both servers, in both-at-once
	hostPaused = 3 * time.Second         // host-paused
	stalled    = 800 * time.Millisecond  // server-stalled
	flapDown   = 10 * time.Millisecond   // each time that the link is down in link-flaps
	flapEvery  = 1200 * time.Millisecond // the kernel of the switch puts off what changes more often than once a second (linkwatch)
	flaps      = 4
	floodFor   = 4 * time.Second
	floodRate  = 10_000
	refusal    = time.Second     // with each code of options-refused
	silence    = 6 * time.Second // sip-pass-check's period in the lab's configuration
)

// faults is every fault, in the order in which tables show them.
var faults = []Fault{
	{
		Name: "server-killed", Text: "SIP server of the primary killed (all its processes, SIGKILL)", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Kill() }),
	},
	{
		Name: "server-frozen", Text: "SIP server of the primary frozen (SIGSTOP)", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Freeze() }),
	},
	{
		Name: "host-dead", Text: "host of the primary dead: both cables pulled at the far end", Expect: Moves,
		inject: at(func(l *Lab, p string) error { // the cuts first: they work on both networks in the same instant
			return errors.Join(l.SetCuts(around(p)...), l.setCables(p, false))
		}),
	},
	{
		Name: "sip-nic-down", Text: "SIP interface of the primary down, management network alive", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.hosts[p].setLink(legOf(p, SIP).link(), false) }),
	},
	{
		Name: "sip-cable-pulled", Text: "cable of the primary's SIP interface pulled at the far end, management network alive", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.sw.setLink(legOf(p, SIP).port(), false) }),
	},
	{
		Name: "sip-one-way", Text: "primary loses all SIP that comes in, sends on", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.setDeaf(p, true) }),
	},
	{
		Name: "partition", Text: "members cut off from each other, both reach the client and the witness", Expect: Stays, Hold: 3 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.SetCuts(Between(MemberA, MemberB)...) }),
	},
	{
		Name: "primary-isolated", Text: "primary cut off from the other two nodes, still reaches the client", Expect: Moves, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error {
			return l.SetCuts(append(Between(p, Peer(p)), Between(p, Witness)...)...)
		}),
	},
	{
		Name: "witness-lost", Text: "witness cut off from everybody", Expect: Stays, Hold: 2 * time.Second, witness: true,
		inject: at(func(l *Lab, _ string) error {
			return errors.Join(l.SetCuts(around(Witness)...), l.setCables(Witness, false))
		}),
	},
	{
		Name: "sidecar-killed", Text: "sidecar of the primary killed (SIGKILL), its SIP server lives on", Expect: Moves, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error { return eachSidecar(l, p, (*Process).Kill) }),
	},
	{
		Name: "sidecar-frozen", Text: fmt.Sprintf("sidecar of the primary frozen for %v (SIGSTOP, then SIGCONT)", Freeze), Expect: Moves,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error {
				time.Sleep(Freeze)
				return eachSidecar(l, p, signalWith(syscall.SIGCONT))
			}, eachSidecar(l, p, signalWith(syscall.SIGSTOP))
		},
	},
	{
		Name: "switchover", Text: "planned switchover", Expect: Moves,
		inject: at(func(l *Lab, p string) error { return l.sup.Switchover(Peer(p)) }),
	},
	{
		Name: "switchover-loaded", Text: "planned switchover under 1,000 requests a second with normal SIP retransmission", Expect: Moves,
		Load:   1000,
		inject: at(func(l *Lab, p string) error { return l.sup.Switchover(Peer(p)) }),
	},
	{
		Name: "host-paused", Text: fmt.Sprintf("host of the primary paused for %v: its sidecar and its SIP server", hostPaused), Expect: Moves,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error {
				time.Sleep(hostPaused)
				return errors.Join(l.servers[p].Thaw(), eachSidecar(l, p, signalWith(syscall.SIGCONT)))
			}, errors.Join(eachSidecar(l, p, signalWith(syscall.SIGSTOP)), l.servers[p].Freeze())
		},
	},
	{
		Name: "sidecar-stopped", Text: "sidecar of the primary stopped by its operator (SIGTERM)", Expect: Moves,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error {
				return eachSidecar(l, p, func(p *Process) error { return p.Stop(patience) })
			}, nil
		},
	},
	{
		Name: "backup-lost", Text: "host of the backup dead: both cables pulled at the far end", Expect: Stays, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error {
			return errors.Join(l.SetCuts(around(Peer(p))...), l.setCables(Peer(p), false))
		}),
	},
	{
		Name: "listener-missing", Text: "SIP server of the primary started again at another port", Expect: Moves, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Misplace() }),
	},
	{
		Name: "vip-missing", Text: "service address taken from the primary", Expect: Stays, Hold: time.Second,
		inject: at(func(l *Lab, p string) error { return l.SetHolder(p, false) }),
	},
	{
		Name: "vip-elsewhere", Text: "service address given to the backup too", Expect: Stays, Hold: time.Second, Twice: true,
		inject: at(func(l *Lab, p string) error { return l.SetHolder(Peer(p), true) }),
	},
	{
		Name: "stale-neighbours", Text: "everybody else has a wrong MAC address for the service address", Expect: Stays, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.misleadNeighbours(p) }),
	},
	{
		Name: "silence", Text: "no SIP from the client reaches the primary, though its server answers everybody else", Expect: Moves, Hold: silence,
		inject: at(func(l *Lab, p string) error { return l.setSilent(p) }),
	},
	{
		Name: "upstream-dead", Text: "no SIP from the client reaches either member", Expect: Either, Hold: silence + time.Second, Down: true,
		inject: at(func(l *Lab, _ string) error { return l.setSilent(Members()...) }),
	},
	{
		Name: "server-stalled", Text: fmt.Sprintf("SIP server of the primary does nothing for %v", stalled), Expect: Stays, Hold: 2 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Stall() }),
	},
	{
		Name: "options-refused", Text: "SIP server of the primary answers OPTIONS with 404, 405 and 501; calls work", Expect: Stays, Hold: 3 * refusal,
		Method: "INVITE",
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error {
				for _, b := range []Behaviour{Options405, Options501} {
					time.Sleep(refusal)
					if err := l.servers[p].Behave(b); err != nil {
						return err
					}
				}
				time.Sleep(refusal)
				return nil
			}, l.servers[p].Behave(Options404)
		},
	},
	{
		Name: "options-dead", Text: "SIP server of the primary answers no OPTIONS; calls work", Expect: Stays, Hold: 3 * time.Second, Method: "INVITE",
		inject: at(func(l *Lab, p string) error { return l.servers[p].Behave(OptionsDead) }),
	},
	{
		Name: "overloaded", Text: "SIP server of the primary refuses every other request with 503", Expect: Stays, Hold: 3 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Behave(Overloaded) }),
	},
	{
		Name: "swamped", Text: "SIP server of the primary gets more requests than it can answer: each takes it 20 ms", Expect: Stays, Hold: 4 * time.Second, Down: true,
		inject: at(func(l *Lab, p string) error { return l.servers[p].Behave(Slow) }),
	},
	{
		Name: "hostile-sender", Text: fmt.Sprintf("the primary gets %d malformed packets a second at its SIP port", floodRate), Expect: Stays, Weigh: true,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error { return l.flood(floodFor) }, nil
		},
	},
	{
		Name: "link-flaps", Text: fmt.Sprintf("SIP link of the primary loses its carrier for %v, %d times", flapDown, flaps), Expect: Stays,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error { return l.flap(legOf(p, SIP)) }, nil
		},
	},
	{
		Name: "packet-loss", Text: "a fifth of all packets from and to the primary is lost, in both networks", Expect: Stays, Hold: 3 * time.Second,
		inject: at(func(l *Lab, p string) error { return l.setLossy(p) }),
	},
	{
		Name: "both-at-once", Text: fmt.Sprintf("both SIP servers killed at once, started again after %v", bothDown), Expect: Either,
		inject: func(l *Lab, p string) (func() error, error) {
			return func() error {
				time.Sleep(bothDown)
				return errors.Join(l.servers[MemberA].Start(), l.servers[MemberB].Start())
			}, errors.Join(l.servers[p].Kill(), l.servers[Peer(p)].Kill())
		},
	},
}

// at is the inject of a fault that is complete at once.
func at(f func(*Lab, string) error) func(*Lab, string) (func() error, error) {
	return func(l *Lab, primary string) (func() error, error) { return nil, f(l, primary) }
}

func eachSidecar(l *Lab, host string, f func(*Process) error) error {
	var errs []error
	for _, p := range l.sup.Sidecar(host) {
		errs = append(errs, f(p))
	}
	return errors.Join(errs...)
}

func signalWith(s syscall.Signal) func(*Process) error {
	return func(p *Process) error { return p.Signal(s) }
}
