package bindings

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/location"
)

// testPair is two stores and the link between them.
type testPair struct {
	t      *testing.T
	began  time.Time
	stores [2]*Store
	dirs   [2]string // where they keep their tables; empty: nowhere
	alive  [2]context.Context
	stop   [2]context.CancelFunc
	epoch  supervisor.Epoch
	leader int

	mu    sync.Mutex // for those who dial
	cut   bool
	conns []net.Conn
}

func newTestPair(t *testing.T, dirs [2]string) *testPair {
	p := &testPair{t: t, dirs: dirs, began: time.Now(), leader: -1}
	for i := range p.stores {
		p.start(i)
	}
	t.Cleanup(func() {
		for _, stop := range p.stop {
			stop()
		}
	})
	return p
}

// start starts a member, with what is in its folder.
func (p *testPair) start(i int) {
	p.t.Helper()
	s, err := Open(Options{Self: Author(i), Logger: zap.NewNop(), Dir: p.dirs[i], Clock: Clock{Now: func() time.Duration { return time.Since(p.began) }, Wall: time.Now, Boot: "boot"}})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.mu.Lock()
	p.stores[i], p.alive[i], p.stop[i] = s, ctx, cancel
	p.mu.Unlock()
	go func() { _ = s.Run(ctx, func(context.Context) (net.Conn, error) { return p.dial(1 - i) }) }()
}

var errCut = fmt.Errorf("the link is cut")

func (p *testPair) dial(to int) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return nil, errCut
	}
	near, far := net.Pipe()
	p.conns = append(p.conns, near, far)
	s, ctx := p.stores[to], p.alive[to]
	go func() { _ = s.Serve(ctx, far) }()
	return near, nil
}

// disconnect cuts the link.
func (p *testPair) disconnect() {
	p.mu.Lock()
	p.cut = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	synctest.Wait()
}

// connect makes the link whole again.
func (p *testPair) connect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// lead gives a member the role.
func (p *testPair) lead(i int) {
	p.epoch++
	p.leader = i
	p.stores[1-i].SetRole(p.epoch, false)
	p.stores[i].SetRole(p.epoch, true)
}

// register does what a phone's REGISTER at the primary's server does.
func (p *testPair) register(aor, contact string, cseq uint32, expires time.Duration) {
	p.t.Helper()
	s := p.stores[p.leader]
	now := s.Get(aor).Plain()
	now = slices.DeleteFunc(now, func(b location.Binding) bool { return b.Contact == contact })
	if expires > 0 {
		now = append(now, testBinding(contact, cseq, s.o.Clock.Now()+expires))
	}
	if err := s.Set(aor, now, Cause{"call-" + contact, cseq}); err != nil {
		p.t.Fatal(err)
	}
}

func testBinding(contact string, cseq uint32, expires time.Duration) location.Binding {
	return location.Binding{
		Contact: contact, Q: location.NoQ, CallID: "call-" + contact, CSeq: cseq, UserAgent: "Phone 1.0", Methods: location.AllMethods, Expires: expires,
	}
}

// settle waits until both tables are equal, and checks that they are.
func (p *testPair) settle() {
	p.t.Helper()
	time.Sleep(3*lastRetry + 2*idleEvery)
	synctest.Wait()
	a, b := p.stores[0], p.stores[1]
	for _, s := range p.stores {
		if st := s.Status(); !st.InSync() || st.Behind > 0 {
			p.t.Errorf("member %d is not in sync: %+v", s.o.Self, st)
		}
	}
	for _, s := range p.stores {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if a.t.digest != b.t.digest || a.t.records != b.t.records {
		p.t.Fatalf("tables differ: %d and %d records", a.t.records, b.t.records)
	}
	for i := range a.t.buckets {
		for aor, e := range a.t.buckets[i].records {
			ra, rb := e.record(), b.t.get(aor)
			if e.size == 0 && len(rb.Bindings) == 0 {
				continue
			}
			for k := range rb.Bindings {
				if d := (ra.Bindings[k].Expires - rb.Bindings[k].Expires).Abs(); d > 2*second {
					p.t.Errorf("%s expires %v apart", aor, d)
				}
				rb.Bindings[k].Expires = ra.Bindings[k].Expires
			}
			if !slices.Equal(ra.Bindings, rb.Bindings) || ra.Version != rb.Version {
				p.t.Fatalf("%s differs:\n%+v\n%+v", aor, ra, rb)
			}
		}
	}
}

// check checks that every member has a binding with a CSeq; 0 is no binding.
func (p *testPair) check(aor, contact string, cseq uint32) {
	p.t.Helper()
	for i, s := range p.stores {
		r := s.Get(aor)
		b := r.find(contact)
		switch {
		case cseq == 0 && b != nil:
			p.t.Errorf("member %d has %s of %s", i, contact, aor)
		case cseq != 0 && b == nil:
			p.t.Errorf("member %d lacks %s of %s", i, contact, aor)
		case cseq != 0 && b.CSeq != cseq:
			p.t.Errorf("member %d has %s of %s with CSeq %d, want %d", i, contact, aor, b.CSeq, cseq)
		}
	}
}

func TestPair_replicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		for i := range 2000 {
			p.register(fmt.Sprintf("u%d@example.net", i), "sip:phone@192.0.2.1", 1, time.Hour)
		}
		p.settle()
		for i := range 2000 {
			p.register(fmt.Sprintf("u%d@example.net", i), "sip:phone@192.0.2.1", 2, time.Hour)
		}
		p.register("u7@example.net", "sip:phone@192.0.2.1", 3, 0)
		p.register("u8@example.net", "sip:second@192.0.2.1", 1, time.Hour)
		p.settle()
		p.check("u3@example.net", "sip:phone@192.0.2.1", 2)
		p.check("u7@example.net", "sip:phone@192.0.2.1", 0)
		p.check("u8@example.net", "sip:phone@192.0.2.1", 2)
		p.check("u8@example.net", "sip:second@192.0.2.1", 1)
		if got := p.stores[1].Status(); got.Records != 1999 || got.Bindings != 2000 {
			t.Errorf("got %d records, %d bindings", got.Records, got.Bindings)
		}
	})
}

// What a primary had not told before it was lost is joined with what happened since.
func TestPair_joins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		const aor, desk, mobile, soft = "u@example.net", "sip:desk@192.0.2.1", "sip:mobile@192.0.2.2", "sip:soft@192.0.2.3"
		p.register(aor, desk, 1, time.Hour)
		p.register(aor, mobile, 1, time.Hour)
		p.settle()
		p.disconnect()
		p.register(aor, soft, 1, time.Hour)    // known to member 0 alone
		p.register(aor, mobile, 2, 0)          // likewise
		p.register("only", desk, 5, time.Hour) // likewise, in a record of its own
		p.lead(1)
		p.register(aor, desk, 2, time.Hour)
		p.connect()
		p.settle()
		p.check(aor, desk, 2)
		p.check(aor, soft, 1)
		p.check(aor, mobile, 0)
		p.check("only", desk, 5)
	})
}

// A member that lost its table gets everything back, also what it had made itself, and is not believed to have what it lost.
func TestPair_lostTable(t *testing.T) {
	for _, lost := range []int{0, 1} {
		for _, leader := range []int{0, 1} {
			t.Run(fmt.Sprintf("member %d, then %d leads", lost, leader), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newTestPair(t, [2]string{})
					p.lead(0)
					for i := range 300 {
						p.register(fmt.Sprintf("u%d", i), "sip:phone@192.0.2.1", 1, time.Hour)
					}
					p.settle()
					p.disconnect()
					p.stop[lost]()
					synctest.Wait()
					p.start(lost)
					p.lead(leader)
					for i := range 400 { // more than before: versions of the old table come up again
						p.register(fmt.Sprintf("v%d", i), "sip:phone@192.0.2.1", 1, time.Hour)
					}
					p.register("u5", "sip:phone@192.0.2.1", 2, time.Hour)
					p.connect()
					p.settle()
					for i := range 300 {
						want := uint32(1)
						if i == 5 {
							want = 2
						}
						p.check(fmt.Sprintf("u%d", i), "sip:phone@192.0.2.1", want)
					}
					p.check("v399", "sip:phone@192.0.2.1", 1)
				})
			})
		}
	}
}

// What the former primary's server accepted just before the role moved reaches the new one; later, and where that knows better, it does not.
func TestPair_lateNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		p.register("known", "sip:a@192.0.2.1", 1, time.Hour)
		p.settle()
		p.lead(1)
		p.register("known", "sip:a@192.0.2.1", 2, time.Hour)
		time.Sleep(time.Second)
		old := p.stores[0]
		late := []location.Binding{testBinding("sip:a@192.0.2.1", 1, old.o.Clock.Now()+time.Hour)}
		if err := old.Set("late", late, Cause{}); err != nil {
			t.Error(err)
		}
		if err := old.Set("known", nil, Cause{}); !errors.Is(err, ErrBackup) {
			t.Errorf("what the new primary has changed: got %v", err)
		}
		p.settle()
		p.check("late", "sip:a@192.0.2.1", 1)
		p.check("known", "sip:a@192.0.2.1", 2)
		if err := old.Set("later", late, Cause{}); !errors.Is(err, ErrBackup) {
			t.Errorf("long afterwards: got %v", err)
		}
	})
}

// Bindings end when nobody refreshes them, on both sides.
func TestPair_expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPair(t, [2]string{})
		p.lead(0)
		p.register("u", "sip:short@192.0.2.1", 1, time.Minute)
		p.register("u", "sip:long@192.0.2.1", 1, 10*time.Minute)
		p.register("v", "sip:short@192.0.2.1", 1, time.Minute)
		time.Sleep(30 * time.Second)
		p.register("v", "sip:short@192.0.2.1", 2, time.Minute)
		p.settle() // 26 s
		p.check("u", "sip:short@192.0.2.1", 1)
		time.Sleep(10 * time.Second)
		p.check("u", "sip:short@192.0.2.1", 0)
		p.check("u", "sip:long@192.0.2.1", 1)
		p.check("v", "sip:short@192.0.2.1", 2)
		time.Sleep(time.Minute)
		p.settle()
		p.check("v", "sip:short@192.0.2.1", 0)
		if got := p.stores[0].Status().Records; got != 1 {
			t.Errorf("%d records are left", got)
		}
	})
}

// Phones register and unregister, the link breaks, the role moves, at random: in the end both members know what each phone did last.
func TestPair_random(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dirs := [2]string{t.TempDir(), t.TempDir()}
			synctest.Test(t, func(t *testing.T) { randomPair(t, dirs, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

// restart ends a member, as if it were killed or in order, and starts it again. What it had not written to disk yet is lost if it is killed.
func (p *testPair) restart(i int, killed bool) {
	p.t.Helper()
	before := p.dirs[i] + ".before"
	if killed {
		if err := os.CopyFS(before, os.DirFS(p.dirs[i])); err != nil {
			p.t.Fatal(err)
		}
	}
	p.stop[i]()
	synctest.Wait()
	if killed {
		files, _ := filepath.Glob(filepath.Join(p.dirs[i], "registrations*"))
		for _, f := range files {
			_ = os.Remove(f)
		}
		if err := errors.Join(os.CopyFS(p.dirs[i], os.DirFS(before)), os.RemoveAll(before)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.start(i)
	p.stores[i].SetRole(p.epoch, p.leader == i)
}

func randomPair(t *testing.T, dirs [2]string, rng *rand.Rand) {
	p := newTestPair(t, dirs)
	p.lead(rng.IntN(2))
	type phone struct{ aor, contact string }
	last := map[phone]uint32{} // what it did last: CSeq, or 0 for leaving
	cseq := map[phone]uint32{}
	for range 400 {
		ph := phone{fmt.Sprintf("u%d", rng.IntN(20)), fmt.Sprintf("sip:p%d@192.0.2.1", rng.IntN(3))}
		switch n := rng.IntN(100); {
		case n < 60:
			cseq[ph]++
			p.register(ph.aor, ph.contact, cseq[ph], time.Hour)
			last[ph] = cseq[ph]
		case n < 80:
			r := p.stores[p.leader].Get(ph.aor)
			if r.find(ph.contact) == nil {
				continue // the server says that there is no such binding: who has it is not known here
			}
			cseq[ph]++
			p.register(ph.aor, ph.contact, cseq[ph], 0)
			last[ph] = 0
		case n < 90:
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		case n < 94:
			p.disconnect()
		case n < 97:
			p.connect()
		case n < 99:
			p.lead(rng.IntN(2))
		default:
			time.Sleep(100 * time.Millisecond)
			if p.stores[0].Status().Behind+p.stores[1].Status().Behind > 0 {
				time.Sleep(2 * saveEvery) // nobody else knows the last changes
			}
			i := rng.IntN(2)
			p.restart(i, rng.IntN(2) == 0)
		}
	}
	p.connect()
	p.settle()
	for ph, want := range last {
		p.check(ph.aor, ph.contact, want)
	}
}
