package traffic

import "time"

// requests is a table of so many requests in the order of their arrival, found by key. It is one piece of memory, without pointers.
type requests struct {
	ring        []transaction
	index       []int32 // open addressing: place in ring plus 1, 0 where nothing is
	first, next uint64  // numbers of the oldest request and of the one to come
}

// transaction is a server transaction, by a hash of its branch, Call-ID and CSeq. The key 0 means none.
type transaction struct {
	key    uint64
	at     time.Duration
	state  state
	invite bool
	done   bool // it has had an answer above 100
}

type state uint8

const (
	waiting    state = iota
	answered         // in time
	unanswered       // in time; it may have been answered since
)

// newRequests makes a table for size requests, a power of two.
func newRequests(size int) requests {
	return requests{ring: make([]transaction, size), index: make([]int32, 2*size)}
}

// at gives the request of that number.
func (t *requests) at(number uint64) *transaction { return &t.ring[number%uint64(len(t.ring))] }

func (t *requests) find(key uint64) *transaction {
	for i := t.home(key); t.index[i] != 0; i = t.after(i) {
		if r := &t.ring[t.index[i]-1]; r.key == key {
			return r
		}
	}
	return nil
}

// add puts r behind all others, in the place of a request with the same key if there is one, and gives the oldest if that had to go.
func (t *requests) add(r transaction) (gone transaction) {
	if old := t.find(r.key); old != nil {
		t.remove(old.key)
		old.key, old.state = 0, answered // the place is vacated when its turn comes
	}
	if t.next-t.first == uint64(len(t.ring)) {
		gone = *t.at(t.first)
		if gone.key != 0 {
			t.remove(gone.key)
		}
		t.first++
	}
	*t.at(t.next) = r
	i := t.home(r.key)
	for t.index[i] != 0 {
		i = t.after(i)
	}
	t.index[i] = int32(t.next%uint64(len(t.ring))) + 1
	t.next++
	return gone
}

// remove takes key out of the index and closes the gap: whatever follows moves up as far as its own home.
func (t *requests) remove(key uint64) {
	i := t.home(key)
	for t.index[i] == 0 || t.ring[t.index[i]-1].key != key {
		i = t.after(i)
	}
	for j := t.after(i); t.index[j] != 0; j = t.after(j) {
		home := t.home(t.ring[t.index[j]-1].key)
		if mask := len(t.index) - 1; (j-home)&mask >= (j-i)&mask {
			t.index[i], i = t.index[j], j
		}
	}
	t.index[i] = 0
}

// home spreads the keys: neighbours would make long rows.
func (t *requests) home(key uint64) int {
	return int(key * 0x9e3779b97f4a7c15 >> 32 & uint64(len(t.index)-1))
}

func (t *requests) after(i int) int { return (i + 1) & (len(t.index) - 1) }
