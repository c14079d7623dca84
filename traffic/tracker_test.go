package traffic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/traffic/sip"
)

// recorder is a reader that keeps everything.
type recorder struct {
	got  bytes.Buffer
	gaps int
	keep int // what buffered says
}

func (r *recorder) feed(b []byte, _ time.Duration) { r.got.Write(b) }
func (r *recorder) gap()                           { r.gaps, r.keep = r.gaps+1, 0 }
func (r *recorder) buffered() int                  { return r.keep }

func recording() (*tracker, map[flowKey]*recorder) {
	all := map[flowKey]*recorder{}
	return newTracker(func(k flowKey) reader {
		all[k] = &recorder{}
		return all[k]
	}), all
}

func flowNumber(i int) flowKey {
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5060)
	return keyOf(src, netip.AddrPortFrom(here, 5060))
}

// Segments that are late, early, repeated or overlap are put in order, across the end of the sequence numbers, without a gap.
func TestTracker_order(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			tr, all := recording()
			key, first := flowNumber(1), -uint32(rng.IntN(20_000)) // soon 0
			data := noise(rng, 30_000)
			tr.add(key, segment{seq: first - 1, syn: true}, 0)
			var segments []segment
			for at := 0; at < len(data); {
				n := min(1+rng.IntN(1460), len(data)-at)
				back := rng.IntN(2) * rng.IntN(min(at, 500)+1) // sent again with more
				segments = append(segments, segment{seq: first + uint32(at-back), data: data[at-back : at+n]})
				at += n
			}
			for i := range segments { // a segment goes astray by some places
				j := min(i+rng.IntN(6), len(segments)-1)
				segments[i], segments[j] = segments[j], segments[i]
			}
			for i, s := range segments {
				for range 1 + rng.IntN(2) {
					tr.add(key, s, time.Duration(i)*time.Millisecond)
				}
			}
			r := all[key]
			if !bytes.Equal(r.got.Bytes(), data) || r.gaps != 0 {
				t.Errorf("got %d octets with %d gaps, want %d with none", r.got.Len(), r.gaps, len(data))
			}
			if tr.early != 0 || tr.waits() {
				t.Errorf("%d octets kept", tr.early)
			}
			tr.add(key, segment{seq: first + uint32(len(data)), fin: true}, 0)
			if len(tr.flows) != 0 {
				t.Error("the flow outlives its end")
			}
		})
	}
}

// A hole that is not filled is skipped, after a while or when there is too much behind it.
func TestTracker_hole(t *testing.T) {
	for name, skip := range map[string]func(*tracker, flowKey){
		"time, with the next segment": func(tr *tracker, k flowKey) {
			tr.add(k, segment{seq: 300, data: []byte("ef")}, holeLife+1)
		},
		"we have lost it": func(tr *tracker, k flowKey) {
			tr.lost(1)
			tr.add(k, segment{seq: 300, data: []byte("ef")}, 2)
		},
		"time, in silence": func(tr *tracker, _ flowKey) { tr.sweep(holeLife + 1) },
		"size": func(tr *tracker, k flowKey) {
			for at := uint32(300); at < 300+maxEarlyFlow; at += 1000 {
				tr.add(k, segment{seq: at, data: make([]byte, 1000)}, 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr, all := recording()
			k := flowNumber(1)
			tr.add(k, segment{seq: 99, syn: true}, 0)
			tr.add(k, segment{seq: 100, data: []byte("ab")}, 0)
			tr.add(k, segment{seq: 200, data: []byte("cd")}, 0)
			if got := all[k].got.String(); got != "ab" || !tr.waits() {
				t.Fatalf("before: got %q, waits %v", got, tr.waits())
			}
			skip(tr, k)
			if got := all[k].got.String(); !strings.HasPrefix(got, "abcd") || all[k].gaps == 0 {
				t.Errorf("got %q with %d gaps, want abcd", got, all[k].gaps)
			}
			tr.sweep(time.Hour)
			if tr.early != 0 || tr.waits() {
				t.Errorf("an hour later: %d octets kept", tr.early)
			}
		})
	}
}

// A connection that began before is joined; a reset ends both directions; other sequence numbers are another connection.
func TestTracker_joins(t *testing.T) {
	tr, all := recording()
	k := flowNumber(1)
	tr.add(k, segment{seq: 5}, 0) // nothing but an acknowledgement
	if len(tr.flows) != 0 {
		t.Error("a flow without octets")
	}
	tr.add(k, segment{seq: 5, data: []byte("ab")}, 0)
	tr.add(k, segment{seq: 6, data: []byte("b")}, 0) // a keep-alive of TCP
	tr.add(k.reversed(), segment{seq: 5, data: []byte("xy")}, 0)
	tr.add(k, segment{seq: 5 + 2*window, data: []byte("cd")}, 0)
	if got := all[k].got.String(); got != "abcd" || all[k].gaps != 2 {
		t.Errorf("got %q with %d gaps, want abcd with 2", got, all[k].gaps)
	}
	tr.add(k, segment{seq: 1000, syn: true}, 0)
	tr.add(k, segment{seq: 1000, syn: true}, 0) // sent again
	tr.add(k, segment{seq: 1001, data: []byte("ef")}, 0)
	tr.add(k, segment{seq: 1000, syn: true}, 0)
	if got := all[k].got.String(); got != "ef" || all[k].gaps != 0 {
		t.Errorf("after SYN: got %q with %d gaps, want ef with none", got, all[k].gaps)
	}
	tr.add(k, segment{rst: true}, 0)
	if len(tr.flows) != 0 {
		t.Errorf("%d flows after a reset", len(tr.flows))
	}
}

// Floods of connections, of segments behind holes and of messages without an end are bounded; what is active survives.
func TestTracker_bounded(t *testing.T) {
	tr, all := recording()
	good := flowNumber(-1)
	tr.add(good, segment{seq: 0, syn: true}, 0)
	seq := uint32(1)
	for i := range 2 * maxFlows {
		k, now := flowNumber(i), time.Duration(i)*100*time.Microsecond
		tr.add(k, segment{seq: 1, syn: true}, now)
		tr.add(k, segment{seq: 1000, data: make([]byte, 1400)}, now)
		all[k].keep = 60 << 10 // most of a message
		tr.add(k, segment{seq: 2, data: []byte("x")}, now)
		if tr.early > maxEarly || tr.kept > maxPartial || len(tr.flows) > maxFlows || len(tr.holes) > maxFlows {
			t.Fatalf("connection %d: %d octets early, %d kept, %d flows", i, tr.early, tr.kept, len(tr.flows))
		}
		if i%1000 == 0 {
			tr.add(good, segment{seq: seq, data: []byte("0123456789")}, now)
			seq += 10
		}
	}
	if r := all[good]; r.gaps != 0 || r.got.Len() != int(seq-1) {
		t.Errorf("the good one: got %d octets with %d gaps, want %d with none", r.got.Len(), r.gaps, seq-1)
	}
	tr.sweep(time.Hour)
	if tr.early != 0 || tr.kept != 0 || tr.waits() {
		t.Errorf("an hour later: %d octets early, %d kept", tr.early, tr.kept)
	}
}

// Any sequence of segments: the sums are right, the bounds hold, nothing is delivered that was not sent.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{2, 0, 0, 1, 0, 0, 0, 0, 9, 1, 0, 0, 0, 2, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		tr, all := recording()
		now := time.Duration(0)
		for len(script) >= 6 {
			b := script[:6]
			s := segment{syn: b[0]&2 != 0, fin: b[0]&4 != 0, rst: b[0]&24 == 24, seq: binary.BigEndian.Uint32(b[1:]) >> (b[0] >> 5)}
			n := min(int(b[5])*int(1+b[0]>>6*40), len(script)-6)
			s.data = script[6 : 6+n]
			key := flowNumber(int(b[0] & 1))
			script = script[min(len(script), 6+n/2):]
			now += time.Duration(b[5]) * 20 * time.Millisecond
			tr.add(key, s, now)
			if r := all[key]; r != nil && b[0]&1 == 0 {
				r.keep = int(b[5]) * 100
			}
			if b[5] == 255 {
				tr.sweep(now)
			}
			checkTracker(t, tr)
		}
		tr.sweep(now + time.Hour)
		if tr.waits() || tr.early != 0 || tr.kept != 0 {
			t.Fatalf("an hour later: %d early, %d kept", tr.early, tr.kept)
		}
	})
}

func checkTracker(t *testing.T, tr *tracker) {
	t.Helper()
	early, kept, inRing := 0, 0, 0
	for _, f := range tr.flows {
		sum := 0
		for i, e := range f.early {
			sum += len(e.data) + earlyCost
			if int32(e.seq-f.next) <= 0 && i == 0 {
				t.Fatal("a segment waits that is next")
			}
		}
		if sum != f.bytes || tr.holes[f] != (len(f.early) > 0) {
			t.Fatalf("got %d octets behind a hole, want %d", f.bytes, sum)
		}
		early += sum
		kept += tr.parts[f]
	}
	for f := tr.lru.newer; f != &tr.lru; f = f.newer {
		inRing++
	}
	if early != tr.early || kept != tr.kept || inRing != len(tr.flows) || early > maxEarly || kept > maxPartial {
		t.Fatalf("got %d early, %d kept, %d flows; want %d, %d, %d", tr.early, tr.kept, len(tr.flows), early, kept, inRing)
	}
}

// What it costs to follow connections: 480 octets a segment, one message each, a thousand connections.
func BenchmarkTracker(b *testing.B) {
	o := newObserver(DefaultOptions())
	tr := newTracker(func(flowKey) reader { return newStream(o, Meta{In: true, Transport: TCP}) })
	msg := []byte(request("OPTIONS", strings.Repeat("x", 100), 1))
	keys := make([]flowKey, 1000)
	seqs := make([]uint32, len(keys))
	for i := range keys {
		keys[i] = flowNumber(i)
		tr.add(keys[i], segment{syn: true}, 0)
		seqs[i] = 1
	}
	var m sip.Message
	if n, err := sip.Parse(msg, &m); n != len(msg) || err != nil {
		b.Fatal(n, err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tr.add(keys[i], segment{seq: seqs[i], data: msg}, sec)
		seqs[i] += uint32(len(msg))
		if i++; i == len(keys) {
			i = 0
		}
	}
	if got := o.snapshot(sec).In.Total(); got != uint64(b.N) {
		b.Fatalf("got %d messages, want %d", got, b.N)
	}
}
