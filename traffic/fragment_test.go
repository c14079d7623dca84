package traffic

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cut makes fragments of a datagram, of size octets each.
func cut(data []byte, size int, id uint32, v6 bool) (all []packet) {
	src, dst := netip.MustParseAddr(there4), here
	if v6 {
		src, dst = netip.MustParseAddr(there6), netip.MustParseAddr(here6)
	}
	for at := 0; at < len(data); at += size {
		end := min(at+size, len(data))
		all = append(all, packet{
			src: src, dst: dst, proto: unix.IPPROTO_UDP, payload: data[at:end], fragment: true, id: id, offset: at, more: end < len(data),
		})
	}
	return all
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Fragments in any order, with repetitions, of several datagrams at a time, come out whole, once.
func TestReassembler(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			r := newReassembler()
			var all []packet
			want := map[uint32][]byte{}
			for id := range uint32(1 + rng.IntN(5)) {
				data := noise(rng, 1+rng.IntN(maxDatagram))
				size := 8 * (64 + rng.IntN(300))
				if len(data) <= size {
					continue
				}
				want[id] = data
				parts := cut(data, size, id, rng.IntN(2) == 0)
				all = append(all, parts...)
			}
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, p := range all {
				for range 1 + rng.IntN(2) { // the second is a repetition
					q := p
					if !r.add(&q, 0) {
						continue
					}
					if q.fragment || q.proto != unix.IPPROTO_UDP || !bytes.Equal(q.payload, want[q.id]) {
						t.Fatalf("datagram %d: got %d octets, want %d", q.id, len(q.payload), len(want[q.id]))
					}
					delete(want, q.id)
					break // a repetition now would begin a new datagram
				}
			}
			if len(want) != 0 || len(r.held) != 0 || r.bytes != 0 {
				t.Errorf("%d datagrams missing, %d held, %d octets counted", len(want), len(r.held), r.bytes)
			}
		})
	}
}

// Fragments that contradict each other make no datagram (RFC 5722).
func TestReassembler_contradictions(t *testing.T) {
	data := make([]byte, 200)
	frag := func(start, end int, more bool) packet {
		p := cut(data, len(data), 1, false)[0]
		p.payload, p.offset, p.more = data[start:end], start, more
		return p
	}
	whole := []packet{frag(0, 40, true), frag(40, 80, true), frag(80, 100, false)}
	for name, bad := range map[string]packet{
		"overlap":              frag(32, 48, true),
		"beyond the end":       frag(96, 104, true),
		"another end":          frag(56, 64, false),
		"empty":                frag(40, 40, true),
		"less than eight":      frag(40, 44, true),
		"an end that is early": frag(32, 40, false),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReassembler()
			order := []packet{whole[0], whole[2], bad, whole[1]}
			if name == "an end that is early" {
				order = []packet{whole[0], whole[1], bad, whole[2]}
			}
			if name == "overlap" || name == "beyond the end" {
				order = []packet{whole[1], whole[2], bad, whole[0]}
			}
			for _, p := range order {
				if r.add(&p, 0) {
					t.Errorf("a datagram of %d octets", len(p.payload))
				}
			}
			for _, p := range whole { // a new attempt works: what is left of the old one is gone
				r.add(&p, fragmentLife+1)
			}
			if len(r.held) != 0 {
				t.Errorf("%d held", len(r.held))
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		r := newReassembler()
		p := frag(0, 104, true)
		p.offset = maxDatagram - 50
		r.add(&p, 0)
		if len(r.held) != 0 || r.bytes != 0 {
			t.Errorf("%d held", len(r.held))
		}
	})
}

// A flood of fragments that make nothing costs no more than the bounds, and all of it goes with time.
func TestReassembler_bounded(t *testing.T) {
	for name, size := range map[string]int{"small": 8, "large": 1480} {
		t.Run(name, func(t *testing.T) {
			r := newReassembler()
			data := make([]byte, size)
			for i := range 10_000 {
				p := cut(data, size, uint32(i), true)[0]
				p.more = true
				p.offset = 8 * (i % 8000)
				r.add(&p, time.Duration(i)*100*time.Microsecond)
				if len(r.held) > maxDatagrams || r.bytes > maxFragmentBytes {
					t.Fatalf("fragment %d: %d datagrams, %d octets", i, len(r.held), r.bytes)
				}
			}
			p := cut(data, size, 0, false)[0]
			p.payload = nil
			r.add(&p, time.Hour)
			if len(r.held) != 0 || r.bytes != 0 {
				t.Errorf("an hour later: %d datagrams, %d octets", len(r.held), r.bytes)
			}
		})
	}
}
