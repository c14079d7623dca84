package registrar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// fakeServer is a registrar in memory that takes its time, fails now and then, and starts anew when it is told to.
type fakeServer struct {
	mu      sync.Mutex
	rng     *rand.Rand
	has     map[string][]location.Binding
	busy    map[string]bool // addresses of record that are being changed
	twice   bool            // one was changed twice at a time
	failing int             // of a hundred attempts
	starts  int
	mute    bool // it can't be asked
}

var errFake = errors.New("the server is moody")

// number is a random number below n.
func (f *fakeServer) number(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

func (f *fakeServer) dawdle() { time.Sleep(time.Duration(f.number(5)) * time.Millisecond) }

// change changes how it behaves.
func (f *fakeServer) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

func (f *fakeServer) Lookup(_ context.Context, aor string) ([]location.Binding, error) {
	f.dawdle()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute {
		return nil, ErrCannotAsk
	}
	if f.rng.IntN(100) < f.failing {
		return nil, errFake
	}
	return slices.Clone(f.has[aor]), nil
}

func (f *fakeServer) Apply(_ context.Context, aor string, want []location.Binding) error {
	f.mu.Lock()
	f.twice = f.twice || f.busy[aor]
	f.busy[aor] = true
	fails := f.rng.IntN(100) < f.failing
	f.mu.Unlock()
	f.dawdle()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, aor)
	if fails {
		return errFake
	}
	if f.has[aor] = slices.Clone(want); len(want) == 0 {
		delete(f.has, aor)
	}
	return nil
}

func (f *fakeServer) Watch(ctx context.Context, _ func(Hint)) error { return ErrNoPush }
func (f *fakeServer) Count(context.Context) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.has), nil
}

func (f *fakeServer) Generation(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute {
		return "", ErrCannotAsk
	}
	return fmt.Sprint(f.starts), nil
}

// register is what a phone does.
func (f *fakeServer) register(aor string, cseq uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cseq == 0 {
		delete(f.has, aor)
		return
	}
	f.has[aor] = []location.Binding{{Contact: "sip:" + aor, CSeq: cseq, Expires: time.Hour}}
}

func (f *fakeServer) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.has, f.starts = map[string][]location.Binding{}, f.starts+1
}

// fakeTable is a table.
type fakeTable struct {
	mu    sync.Mutex
	has   map[string][]location.Binding
	taken []string
	more  chan struct{}
}

func (f *fakeTable) Set(aor string, now []location.Binding, _ string, _ uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.has[aor] = now; len(now) == 0 {
		delete(f.has, aor)
	}
	return nil
}

func (f *fakeTable) Get(aor string) []location.Binding {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.has[aor]
}

func (f *fakeTable) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.has)
}

func (f *fakeTable) Take(limit int) ([]string, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(limit, len(f.taken))
	aors := f.taken[:n]
	f.taken = f.taken[n:]
	return aors, f.more
}

func (f *fakeTable) TakeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(slices.Collect(maps.Keys(f.has))...)
}

func (f *fakeTable) Pending(aor string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.taken, aor)
}

// tell makes addresses of record be taken. The lock is held.
func (f *fakeTable) tell(aors ...string) {
	f.taken = append(f.taken, aors...)
	close(f.more)
	f.more = make(chan struct{})
}

// receive is what the peer does.
func (f *fakeTable) receive(aor string, cseq uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.has[aor] = []location.Binding{{Contact: "sip:" + aor, CSeq: cseq, Expires: time.Hour}}; cseq == 0 {
		delete(f.has, aor)
	}
	f.tell(aor)
}

type syncRig struct {
	*Sync
	server  *fakeServer
	table   *fakeTable
	primary atomic.Bool
}

func newSyncRig(t *testing.T, seed uint64, wrap ...func(*fakeServer) Server) *syncRig {
	rng := rand.New(rand.NewPCG(seed, 7))
	r := &syncRig{
		server: &fakeServer{rng: rng, has: map[string][]location.Binding{}, busy: map[string]bool{}, starts: 1},
		table:  &fakeTable{has: map[string][]location.Binding{}, more: make(chan struct{})},
	}
	var server Server = r.server
	for _, f := range wrap {
		server = f(r.server)
	}
	began := time.Now()
	r.Sync = NewSync(SyncOptions{
		Server: server, Table: r.table, Primary: r.primary.Load, Now: func() time.Duration { return time.Since(began) }, Logger: zap.NewNop(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// equal waits until nothing is to be done, and checks that server and table are equal.
func (r *syncRig) equal(t *testing.T) {
	t.Helper()
	time.Sleep(2 * lastAgain)
	synctest.Wait()
	if st := r.Stats(); st.Waiting != 0 {
		t.Errorf("not done: %+v", st)
	}
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	if r.server.twice {
		t.Error("one address of record was changed twice at a time")
	}
	if !maps.EqualFunc(r.server.has, r.table.has, func(a, b []location.Binding) bool { return slices.Equal(a, b) }) {
		t.Errorf("server and table differ:\n%v\n%v", r.server.has, r.table.has)
	}
}

// The primary's table learns whatever happens at the server, also with hints that come in any order and servers that fail.
func TestSync_learns(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := newSyncRig(t, seed)
			r.primary.Store(true)
			r.server.change(func() { r.server.failing = int(seed%3) * 20 })
			for i := range 2000 {
				aor := fmt.Sprint("u", r.server.number(200))
				r.server.register(aor, uint32(r.server.number(4)*(i+1)))
				r.Hint(Hint{AOR: aor})
				time.Sleep(time.Duration(r.server.number(2)) * time.Millisecond)
			}
			r.server.change(func() { r.server.failing = 0 })
			r.equal(t)
		})
	}
}

// The backup's server is told whatever happens to the table, and all of it again after it has started anew.
func TestSync_tells(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := newSyncRig(t, seed)
			r.server.change(func() { r.server.failing = int(seed%3) * 20 })
			for i := range 2000 {
				r.table.receive(fmt.Sprint("u", r.server.number(200)), uint32(r.server.number(4)*(i+1)))
				time.Sleep(time.Duration(r.server.number(2)) * time.Millisecond)
				if i%700 == 300 {
					r.server.restart()
				}
			}
			r.server.change(func() { r.server.failing = 0 })
			r.equal(t)
			if got := r.Stats(); got.Restarts == 0 || got.Learned != 0 {
				t.Errorf("stats: %+v", got)
			}
		})
	}
}

// A primary's server that starts anew has lost everything: it is told again, and its emptiness is not learned.
func TestSync_serverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		r.primary.Store(true)
		for i := range 500 {
			aor := fmt.Sprint("u", i)
			r.server.register(aor, 1)
			r.Hint(Hint{AOR: aor})
		}
		r.equal(t)
		r.ServerLost()
		r.server.restart()
		r.server.register("new", 1)
		r.Hint(Hint{AOR: "new"})
		r.Hint(Hint{AOR: "u7"}) // comes late, of before
		r.server.register("u8", 2)
		r.Hint(Hint{AOR: "u8"})
		r.equal(t)
		if got := r.table.Get("u8"); len(got) != 1 || got[0].CSeq != 2 {
			t.Errorf("a phone that came at once: %+v", got)
		}
		if got := r.table.len(); got != 501 {
			t.Errorf("%d addresses of record are left, want 501", got)
		}
	})
}

// A server that does not say that it started anew is told everything again now and then.
func TestSync_tellsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		r.server.change(func() { r.server.mute = true })
		for i := range 100 {
			r.table.receive(fmt.Sprint("u", i), 1)
		}
		time.Sleep(time.Minute)
		r.server.restart()
		time.Sleep(tellAgain)
		r.equal(t)
		if got, _ := r.server.Count(t.Context()); got != 100 {
			t.Errorf("the server has %d", got)
		}
	})
}

// Whoever wants an address of record for himself gets it, and what comes up meanwhile is done afterwards.
func TestSync_Alone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		for i := range 50 {
			r.table.receive("u", uint32(i+1))
			err := r.Alone(t.Context(), "u", func() error {
				r.table.receive("u", uint32(i+2))
				time.Sleep(20 * time.Millisecond)
				return r.server.Apply(t.Context(), "u", nil)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		r.equal(t)
		if got, _ := r.server.Lookup(t.Context(), "u"); len(got) != 1 || got[0].CSeq != 51 {
			t.Errorf("got %+v", got)
		}
	})
}

// Of a server that can't be asked, what it told counts.
func TestSync_mute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		r.primary.Store(true)
		r.server.change(func() { r.server.mute = true })
		b := []location.Binding{{Contact: "sip:x", CSeq: 4}}
		r.Hint(Hint{AOR: "u", Bindings: b, Known: true})
		r.Hint(Hint{AOR: "v"})
		time.Sleep(time.Second)
		if got := r.table.Get("u"); !slices.Equal(got, b) || r.table.len() != 1 {
			t.Errorf("got %+v of %d", got, r.table.len())
		}
		r.primary.Store(false)
		r.Hint(Hint{AOR: "w", Bindings: b, Known: true})
		time.Sleep(time.Second)
		if r.table.len() != 1 {
			t.Error("a backup learns")
		}
	})
}

// Two REGISTERs for one address of record in quick succession both count, also at a server that can't be asked.
func TestSync_seenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		r.primary.Store(true)
		r.server.change(func() { r.server.mute = true })
		synctest.Wait()
		for i := range 2 {
			c := location.Contact{URI: fmt.Sprintf("sip:a@192.0.2.%d", i), Q: location.NoQ, Expires: time.Hour}
			r.Seen(location.Registration{AOR: "a@x", CallID: fmt.Sprint("c", i), CSeq: 1, Transport: "udp", Named: []location.Contact{c}, Granted: []location.Contact{c}, Partial: true})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(r.table.Get("a@x")); n != 2 {
			t.Errorf("%d contacts, want 2", n)
		}
	})
}

// While a server that started anew is told again, nothing is taken for gone that it has not been told yet.
func TestSync_restartTwoContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1)
		r.primary.Store(true)
		two := func() []location.Binding {
			return []location.Binding{{Contact: "sip:desk", CallID: "d", CSeq: 1, Expires: time.Hour}, {Contact: "sip:mobile", CallID: "m", CSeq: 1, Expires: time.Hour}}
		}
		r.table.mu.Lock()
		for i := range 5_000 {
			r.table.has[fmt.Sprint("u", i)] = two()
		}
		r.table.mu.Unlock()
		time.Sleep(5 * time.Minute)
		r.server.restart()
		time.Sleep(1200 * time.Millisecond) // noticed
		r.server.mu.Lock()
		var late []string
		for i := range 5_000 {
			if a := fmt.Sprint("u", i); r.server.has[a] == nil && len(late) < 5_000 {
				r.server.has[a] = []location.Binding{{Contact: "sip:mobile", CallID: "m", CSeq: 2, Expires: time.Hour}}
				late = append(late, a)
			}
		}
		r.server.mu.Unlock()
		for _, a := range late[max(0, len(late)-100):] {
			r.Hint(Hint{AOR: a, CallID: "m", CSeq: 2})
		}
		time.Sleep(5 * time.Minute)
		lost := 0
		for i := range 5_000 {
			if len(r.table.Get(fmt.Sprint("u", i))) != 2 {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%d addresses lost a contact", lost)
		}
	})
}

// picky does not take addresses of record that begin with b.
type picky struct{ *fakeServer }

func (p picky) Apply(ctx context.Context, aor string, want []location.Binding) error {
	if aor[0] == 'b' {
		return errFake
	}
	return p.fakeServer.Apply(ctx, aor, want)
}

// What can't be told does not keep the rest from being told.
func TestSync_headOfLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSyncRig(t, 1, func(f *fakeServer) Server { return picky{f} })
		for i := range mostWaiting {
			r.table.receive(fmt.Sprint("b", i), 1)
		}
		time.Sleep(10 * time.Second)
		r.table.receive("good", 1)
		time.Sleep(time.Minute)
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		if r.server.has["good"] == nil {
			t.Error("the good one has not been told")
		}
	})
}
