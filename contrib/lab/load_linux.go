package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The timers of a SIP client over UDP, RFC 3261 17.1.2.2.
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	timerF  = 64 * timerT1
)

// LoadResult is what phones noticed that sent requests at a steady rate, with normal retransmission.
type LoadResult struct {
	Sent          int           `json:"sent"`          // requests
	Retransmitted int           `json:"retransmitted"` // of these, sent more than once
	Lost          int           `json:"lost"`          // for good: no answer to any retransmission within timer F, 32 s
	Slowest       time.Duration `json:"slowest_ns"`    // time to the answer, of those answered
}

// Load sends requests to the service address at a steady rate and retransmits what isn't answered.
type Load struct {
	conn *net.UDPConn
	done atomic.Bool // send no new ones
	quit atomic.Bool
	wg   sync.WaitGroup

	mu   sync.Mutex
	open map[uint64]*pending
	sum  LoadResult
}

// pending is a request without an answer yet.
type pending struct {
	sent time.Duration
	next time.Duration // when to send it again
	wait time.Duration // between the last two times
}

// loadTick is how often the load sends a batch.
const loadTick = 5 * time.Millisecond

// startLoad starts load at host c; a rate of 0 is none, and then the other methods do nothing.
func (l *Lab) startLoad(rate int) (*Load, error) {
	if rate == 0 {
		return nil, nil
	}
	conn, err := l.listen(client, netip.AddrPortFrom(Addr(client, SIP), 0))
	if err != nil {
		return nil, err
	}
	load := &Load{conn: conn, open: map[uint64]*pending{}}
	load.wg.Go(func() { load.send(rate) })
	load.wg.Go(load.hear)
	return load, nil
}

// send sends new requests at the rate and old ones when it is time.
func (ld *Load) send(rate int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := request{method: "OPTIONS", target: ServiceAddress, from: ld.conn.LocalAddr().(*net.UDPAddr).AddrPort(), user: "phone"}
	to := netip.AddrPortFrom(ServiceAddress, Port)
	start := Now()
	var serial uint64
	var buf []byte
	for next := start; !ld.quit.Load(); next += loadTick {
		sleepUntil(next)
		due := ld.again(Now())
		for want := uint64((Now() - start).Seconds() * float64(rate)); !ld.done.Load() && serial < want; {
			serial++
			ld.begin(serial, Now())
			due = append(due, serial)
		}
		for _, r.serial = range due {
			buf = r.append(buf[:0])
			_, _ = ld.conn.WriteToUDPAddrPort(buf, to) // it is sent again
		}
	}
}

func (ld *Load) begin(serial uint64, now time.Duration) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	ld.open[serial] = &pending{sent: now, next: now + timerT1, wait: timerT1}
	ld.sum.Sent++
}

// again lists the requests to retransmit and gives up those whose timer F has run out.
func (ld *Load) again(now time.Duration) []uint64 {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	var due []uint64
	for serial, p := range ld.open {
		switch {
		case now-p.sent >= timerF:
			delete(ld.open, serial)
			ld.sum.Lost++
		case now >= p.next:
			if p.wait == timerT1 {
				ld.sum.Retransmitted++
			}
			p.wait = min(2*p.wait, timerT2)
			p.next = now + p.wait
			due = append(due, serial)
		}
	}
	return due
}

func (ld *Load) hear() {
	buf := make([]byte, 4096)
	for !ld.quit.Load() {
		n, _, err := ld.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			continue // an ICMP error, or the end
		}
		if a, ok := parseAnswer(buf[:n]); ok && a.code >= 200 {
			ld.settle(a.serial, Now())
		}
	}
}

func (ld *Load) settle(serial uint64, now time.Duration) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	if p := ld.open[serial]; p != nil {
		ld.sum.Slowest = max(ld.sum.Slowest, now-p.sent)
		delete(ld.open, serial)
	}
}

// result sends no more new requests, waits until each is answered or lost, and ends the load.
func (ld *Load) result(ctx context.Context) (*LoadResult, error) {
	if ld == nil {
		return nil, nil
	}
	ld.done.Store(true)
	for ctx.Err() == nil {
		ld.mu.Lock()
		open := len(ld.open)
		ld.mu.Unlock()
		if open == 0 {
			break
		}
		time.Sleep(loadTick)
	}
	err := errors.Join(ctx.Err(), ld.stop())
	sum := ld.sum
	return &sum, err
}

// stop ends the load at once.
func (ld *Load) stop() error {
	if ld == nil {
		return nil
	}
	ld.quit.Store(true)
	err := ld.conn.SetReadDeadline(time.Now())
	ld.wg.Wait()
	return errors.Join(err, ld.conn.Close())
}
