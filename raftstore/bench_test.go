package raftstore

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportTimes(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), name+"-p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), name+"-p99-µs")
	b.ReportMetric(float64(times[len(times)-1].Microseconds()), name+"-max-µs")
}

// preset gives a node the timers of the default preset.
func preset(o *Options) { o.Timing, _ = supervisor.PresetDefault.Timing() }

// BenchmarkPropose commits entries at the leader and by way of it, and tells when the slower follower knows.
func BenchmarkPropose(b *testing.B) {
	for _, where := range []string{"leader", "follower"} {
		b.Run(where, func(b *testing.B) {
			p := newTestPair(b)
			x, y, w := p.start("a", preset), p.start("b", preset), p.start("w", preset)
			p.synced(x, y, w)
			at := p.leader(x, y, w)
			if where == "follower" {
				at = p.others(at.id)[0]
			}
			var commit, known []time.Duration
			for b.Loop() {
				epoch := at.record().Epoch + 1
				start := time.Now()
				if err := at.Propose(context.Background(), roleEntry(epoch, "a")); err != nil {
					b.Fatal(err)
				}
				commit = append(commit, time.Since(start))
				for x.record().Epoch < epoch || y.record().Epoch < epoch || w.record().Epoch < epoch {
					time.Sleep(20 * time.Microsecond)
				}
				known = append(known, time.Since(start))
			}
			reportTimes(b, "commit", commit)
			reportTimes(b, "known", known)
		})
	}
}

// BenchmarkCampaign stops the leader and tells how long an ordered election takes, and the first commit after it.
func BenchmarkCampaign(b *testing.B) {
	p := newTestPair(b)
	slow := func(o *Options) { o.Timing.RaftHeartbeat = time.Second }
	for _, id := range []nodeID{"a", "b", "w"} {
		p.start(id, slow)
	}
	p.synced(p.live["a"], p.live["b"], p.live["w"])
	var lead, commit []time.Duration
	for b.Loop() {
		led := p.leader(p.live["a"], p.live["b"], p.live["w"])
		next := p.others(led.id)[0]
		led.stop()
		start := time.Now()
		for next.Status().State != "leader" {
			next.Campaign()
			time.Sleep(50 * time.Microsecond)
		}
		lead = append(lead, time.Since(start))
		for next.Propose(context.Background(), roleEntry(next.record().Epoch+1, "a")) != nil {
			time.Sleep(50 * time.Microsecond)
		}
		commit = append(commit, time.Since(start))
		p.start(led.id, slow)
		p.synced(p.live[led.id])
		time.Sleep(300 * time.Millisecond) // a node campaigns at most that often
	}
	reportTimes(b, "leader", lead)
	reportTimes(b, "commit", commit)
}

// BenchmarkRestart tells how long a restarted node takes until its record is synced, and until its peers have it back.
func BenchmarkRestart(b *testing.B) {
	p := newTestPair(b)
	x, y, w := p.start("a", preset), p.start("b", preset), p.start("w", preset)
	p.synced(x, y, w)
	var up, synced []time.Duration
	for b.Loop() {
		id := p.others(p.leader(x, y, w).id)[0].id
		p.live[id].stop()
		start := time.Now()
		n := p.start(id, preset)
		for n.Status().Peers[p.others(id)[0].id].Up == false || n.Status().Peers[p.others(id)[1].id].Up == false {
			time.Sleep(100 * time.Microsecond)
		}
		up = append(up, time.Since(start))
		for !n.Status().Synced {
			time.Sleep(100 * time.Microsecond)
		}
		synced = append(synced, time.Since(start))
		x, y, w = p.live["a"], p.live["b"], p.live["w"]
	}
	reportTimes(b, "up", up)
	reportTimes(b, "synced", synced)
}

// BenchmarkLease sends a lease message and waits for its answer: two datagrams through sealing, kernel and opening.
func BenchmarkLease(b *testing.B) {
	p := newTestPair(b)
	back := make(chan struct{}, 1)
	var y *testNode
	x := p.start("a", func(o *Options) { o.OnMessage = func(nodeID, supervisor.Message) { back <- struct{}{} } })
	y = p.start("b", func(o *Options) { o.OnMessage = func(from nodeID, m supervisor.Message) { p.live["b"].Send(from, m) } })
	p.start("w")
	p.synced(x, y)
	for x.Status().Lease.Received == 0 {
		x.Send("b", testMessage)
		time.Sleep(10 * time.Millisecond)
	}
	for len(back) > 0 {
		<-back
	}
	before := cpu()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		x.Send("b", testMessage)
		<-back
		times = append(times, time.Since(start))
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(2*len(times)), "cpu-ns/datagram")
	reportTimes(b, "rtt", times)
}

func BenchmarkSeal(b *testing.B) {
	key := testKey(b)
	s, o := &sealer{leaseKey: key}, &opener{leaseKey: key}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.open(s.seal(testMessage)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle tells what a node costs that does nothing but stay connected, and one that also renews a lease.
func BenchmarkIdle(b *testing.B) {
	for _, renewing := range []bool{false, true} {
		name := map[bool]string{false: "still", true: "renewing"}[renewing]
		b.Run(name, func(b *testing.B) {
			p := newTestPair(b)
			for _, id := range []nodeID{"a", "b", "w"} {
				p.start(id, preset, func(o *Options) {
					if id != "a" {
						o.OnMessage = func(from nodeID, m supervisor.Message) { p.live[id].Send(from, m) }
					}
				})
			}
			p.synced(p.live["a"], p.live["b"], p.live["w"])
			b.ResetTimer()
			for range b.N {
				before, start := cpu(), time.Now()
				for time.Since(start) < 5*time.Second {
					time.Sleep(20 * time.Millisecond)
					if renewing {
						p.live["a"].Send("b", testMessage)
						p.live["a"].Send("w", testMessage)
					}
				}
				b.ReportMetric(100*float64(cpu()-before)/float64(time.Since(start))/3, "%core/node")
			}
		})
	}
}

func BenchmarkCheckBoltFile(b *testing.B) {
	path := b.TempDir() + "/" + diskFile
	sampleDisk(b, path)
	content := must(os.ReadFile(path))(b)
	content = bytes.Clone(content[:usedOctets(content)])
	for b.Loop() {
		if err := checkBoltFile(content, bucketConf, bucketLogs); err != nil {
			b.Fatal(err)
		}
	}
}
