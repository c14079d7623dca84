package bindings

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// realBinding is one as a company's phones make them: a handful of models behind NAT, long random Call-IDs, instances.
func realBinding(rng *rand.Rand, i int) (aor string, b location.Binding) {
	user := fmt.Sprint(200000 + i)
	agents := []string{
		"Yealink SIP-T46U 108.86.0.45", "Yealink SIP-W73P 146.86.0.25", "snomD735/10.1.169.16", "Polycom/6.4.3.1234 PolycomVVX-VVX_450-UA/6.4.3.1234",
		"Grandstream GXP2170 1.0.11.79", "Z 5.6.6 v2.10.20.4", "Cisco-CP-8845-3PCC/12.0.4_Call",
	}
	agent := agents[rng.IntN(len(agents))]
	near := fmt.Sprintf("192.168.%d.%d:%d", rng.IntN(4), 10+rng.IntN(240), 5060+rng.IntN(3))
	far := fmt.Sprintf("%d.%d.%d.%d:%d", 20+rng.IntN(180), rng.IntN(256), rng.IntN(256), 1+rng.IntN(254), 1024+rng.IntN(64000))
	return user + "@sip.example.com", location.Binding{
		Contact: fmt.Sprintf("sip:%s@%s;line=%x", user, near, rng.Uint32()), Q: location.NoQ, CallID: fmt.Sprintf("%d_%d@%s", rng.Uint32(), rng.Uint32(), near),
		CSeq: 1 + rng.Uint32N(20), UserAgent: agent, Received: "sip:" + far, Socket: "udp:10.20.0.5:5060", Branch: 64, Methods: 7999,
		Instance: fmt.Sprintf("<urn:uuid:%08x-%04x-%04x-%04x-%012x>", rng.Uint32(), rng.IntN(65536), rng.IntN(65536), rng.IntN(65536), rng.Uint64N(1<<48)),
		RegID:    1,
	}
}

// What the stream costs per registration and per refresh, at the rate of a flood and at that of every day.
func TestPair_compact(t *testing.T) {
	for _, tt := range []struct {
		phones       int
		rate         int // a second
		fresh, again float64
	}{
		{20_000, 5000, 150, 40},
		{2_000, 100, 150, 40},
	} {
		t.Run(fmt.Sprintf("%d a second", tt.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newTestPair(t, [2]string{})
				p.lead(0)
				time.Sleep(10 * time.Second)
				rng := rand.New(rand.NewPCG(1, 2))
				s := p.stores[0]
				phones := map[string]location.Binding{}
				var order []string
				for i := range tt.phones {
					aor, b := realBinding(rng, i)
					phones[aor], order = b, append(order, aor)
				}
				round := func() float64 {
					before := s.Status().BytesOut
					for _, aor := range order {
						b := phones[aor]
						b.CSeq++
						b.Expires = s.o.Clock.Now() + 3600*second
						phones[aor] = b
						if err := s.Set(aor, []location.Binding{b}, Cause{b.CallID, b.CSeq}); err != nil {
							t.Fatal(err)
						}
						time.Sleep(second / time.Duration(tt.rate))
					}
					time.Sleep(second)
					return float64(s.Status().BytesOut-before) / float64(tt.phones)
				}
				fresh := round()
				rng.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
				again := round()
				t.Logf("%.0f octets for a new binding, %.0f for a refresh; lag %+v", fresh, again, s.Status().Lag)
				if fresh > tt.fresh || again > tt.again {
					t.Errorf("%.0f and %.0f octets, want at most %.0f and %.0f", fresh, again, tt.fresh, tt.again)
				}
				p.settle()
			})
		})
	}
}
