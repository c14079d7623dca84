package status

import (
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// rate lets n requests a second through, and n at once after a quiet second.
type rate struct {
	n float64

	mu    sync.Mutex
	left  float64
	since time.Time
}

func (r *rate) allow(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.left = r.n
	} else {
		r.left = min(r.n, r.left+r.n*now.Sub(r.since).Seconds())
	}
	r.since = now
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}

// trickle logs what clients can cause, so seldom that a flood of it does not fill the disk.
type trickle struct {
	log  *zap.Logger
	rate rate
}

// Write is what a log.Logger needs.
func (t *trickle) Write(line []byte) (int, error) {
	if t.rate.allow(time.Now()) {
		t.log.Warn("a client makes trouble", zap.String("why", strings.TrimSpace(string(line))))
	}
	return len(line), nil
}
